import io
import sys
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.samples import small_classifier

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.metrics import compute_metrics
from tlkit.plotting import charts, image_grids, saliency
from tlkit.training.verification import Movement


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    return small_classifier(small_backbone, class_names=["a", "b", "c"])


def _test_set() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.integers(0, 256, (30, 9, 9, 1), "uint8"), random.integers(0, 3, 30)


def _run() -> tlkit.training.Run:
    movement = Movement(moved=1, untouched=1)
    phases = [
        tlkit.training.PhaseRun(
            name=name,
            history=dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), losses),
            seconds=1,
            best_epoch=0,
            movement=movement,
        )
        for name, losses in [("head", [0.9, 0.5, 0.4]), ("fine_tune", [0.3, 0.2])]
    ]
    return tlkit.training.Run(phases=tuple(phases))


def test_names_are_no_formulas(small_backbone: keras.Model) -> None:
    names = ["$5_$", "$5_to_$10"]
    model = tlkit.build_classifier(small_backbone, 2, pixels=(0, 1), class_names=names)
    images, labels = np.zeros((4, 16, 16, 3), "uint8"), np.arange(4) % 2
    grid = charts.prediction_grid(model, (images, labels))
    assert "$5_to_$10" in " ".join(panel.get_title() for panel in grid.axes)
    for figure in (grid, charts.confusion_matrix(tlkit.evaluate(model, (images, labels)))):
        figure.savefig(io.BytesIO())


def test_every_panel_tells_its_image_and_what_the_model_said(model: keras.Model) -> None:
    images, labels = _test_set()
    probabilities = model.predict(images, verbose=0)
    panels = charts.prediction_grid(model, (images, labels), count=30, seed=3).axes
    order = np.random.default_rng(3).choice(30, size=30, replace=False)
    assert len(panels) == 30
    for panel, index in zip(panels, order, strict=True):
        np.testing.assert_allclose(
            panel.images[0].get_array(), images[index, :, :, 0] / 255, atol=1e-6
        )
        assert panel.images[0].get_cmap().name == "gray"
        called, sure = "abc"[probabilities[index].argmax()], probabilities[index].max()
        wrong = called != "abc"[labels[index]]
        word = "WRONG: " if wrong else "predicted "
        assert (
            panel.get_title() == f"true {'abc'[labels[index]]}\n{word}{called} ({100 * sure:.0f} %)"
        )
        assert (panel.spines["top"].get_linewidth() > 2) == wrong


def test_the_seed_chooses_and_a_short_last_row_is_left_empty(model: keras.Model) -> None:
    first, again, other = (
        [p.get_title() for p in charts.prediction_grid(model, _test_set(), count=7, seed=s).axes]
        for s in (0, 0, 1)
    )
    assert first == again != other
    assert len(first) == 7


def test_colour_images_are_drawn_in_colour(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(small_backbone, 2, pixels=(0, 1))
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), "uint8")
    panel = charts.prediction_grid(model, (images, np.array([0, 1])), count=1).axes[0]
    assert panel.images[0].get_array().shape == (9, 9, 3)


def test_bad_arguments_are_named(model: keras.Model) -> None:
    with pytest.raises(ConfigError, match="`count` must be a whole number of at least 1"):
        charts.prediction_grid(model, _test_set(), count=0)
    with pytest.raises(DataError, match="one for each of the 30 images"):
        charts.prediction_grid(model, (_test_set()[0], np.zeros(2, int)))


def test_curves_run_over_both_phases_and_mark_the_change() -> None:
    run = _run()
    loss, accuracy = charts.learning_curves(run).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert drawn["training"] == [[1, 0.9], [2, 0.5], [3, 0.4], [4, 0.3], [5, 0.2]]
    assert accuracy.get_ylabel() == "accuracy"
    assert [line.get_xdata()[0] for line in loss.lines if line.get_linestyle() == ":"] == [3.5]
    assert [text.get_text() for text in loss.texts] == ["head", "fine_tune"]


def test_the_confusion_matrix_shows_every_count() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    rows = np.eye(2)[[0, 0, 1, 1, 1]]
    result = compute_metrics(labels, rows, class_names=["kitten", "puppy"])
    panel = charts.confusion_matrix(result).axes[0]
    shown = {text.get_position(): text.get_text() for text in panel.texts}
    assert shown == {(0, 0): "2", (1, 0): "1", (1, 1): "2"}
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["kitten", "puppy"]
    assert "80.0 %" in panel.get_title()


def test_no_figure_touches_pyplot(model: keras.Model) -> None:
    before = set(getattr(sys.modules.get("matplotlib.pyplot"), "get_fignums", list)())
    charts.prediction_grid(model, _test_set())
    charts.learning_curves(_run())
    assert set(getattr(sys.modules.get("matplotlib.pyplot"), "get_fignums", list)()) == before


def test_a_probe_is_drawn_against_depth_and_cost() -> None:
    layers = tuple(
        tlkit.evaluation.ProbedLayer(
            layer=layer,
            pooling=pooling,
            num_features=4,
            multiply_adds=work,
            num_parameters=1,
            accuracy=accuracy,
        )
        for layer, pooling, work, accuracy in (
            ("early", "avg", 1_000_000, 0.5),
            ("early", "flatten", 1_000_000, 0.9),
            ("late", "avg", 3_000_000, 0.7),
        )
    )
    probe = tlkit.evaluation.Probe(
        layers=layers, solver="ridge", num_fitted=9, num_scored=100, engine="keras", seconds=1.0
    )
    by_depth, by_cost = charts.probe_curves(probe).axes
    assert [label.get_text() for label in by_depth.get_xticklabels()] == ["early", "late"]
    grid, averaged = by_cost.get_lines()[:2]
    assert grid.get_xydata().tolist() == [[1.0, 90.0]]
    assert averaged.get_xydata().tolist() == [[1.0, 50.0], [3.0, 70.0]]
    assert "chosen: early" in by_depth.get_legend_handles_labels()[1]


def test_a_single_epoch_stands_in_the_middle() -> None:
    phase = tlkit.training.PhaseRun(
        name="head",
        history={"loss": [0.5], "accuracy": [0.75], "penalty": [0.1]},
        seconds=1.0,
        best_epoch=1,
        movement=Movement(moved=2, untouched=0),
    )
    figure = charts.learning_curves(tlkit.training.Run(phases=(phase,)))
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "accuracy"]
    assert all(panel.get_xlim() == (0.5, 1.5) for panel in figure.axes)


def _texts(figure: Figure) -> list[str]:
    return [panel.get_title() for panel in figure.axes]


def test_the_grid_shows_the_errors_that_are_asked_for(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tlkit.build_classifier(small_backbone, 2, pixels=(0, 1), class_names=["cat", "dog"])
    images = np.zeros((6, 16, 16, 3), "uint8")
    images[:, 0, 0, 0] = range(6)
    labels = np.array([0, 0, 0, 1, 1, 1])
    dog = np.array([0.1, 0.9, 0.6, 0.2, 0.7, 0.45])

    def predicted(asked: keras.Model, given: np.ndarray) -> np.ndarray:
        rows = dog[given[:, 0, 0, 0]]
        return np.stack([1 - rows, rows], axis=1)

    monkeypatch.setattr(image_grids, "predict", predicted)
    grid = partial(charts.prediction_grid, model, images, labels)
    said = [title.split("\n", 1)[1] for title in _texts(grid(which="confident"))]
    assert said == [
        "WRONG: dog\n(90 %)",
        "WRONG: cat\n(80 %)",
        "WRONG: dog\n(60 %)",
        "WRONG: cat\n(55 %)",
    ]
    worst = [title.split("\n", 1)[1] for title in _texts(grid(which="worst", count=2))]
    assert worst == ["WRONG: dog\n(90 %)", "WRONG: cat\n(80 %)"]
    each = [title.splitlines()[0] for title in _texts(grid(which="per_class", count=4))]
    assert sorted(each) == ["true cat", "true cat", "true dog", "true dog"]
    with pytest.raises(ConfigError, match="`which` must be one of"):
        grid(which="wurst")
    dog[:] = labels
    [note] = grid(which="confident").texts
    assert note.get_text() == "none of 6 images is misclassified"


def test_the_reliability_diagram_shows_each_bin_that_has_calls() -> None:
    rows = np.array([[0.55, 0.45]] * 10 + [[0.95, 0.05]] * 10)
    labels = np.array([0, 1] * 5 + [0] * 9 + [1])
    figure = charts.reliability_diagram(
        compute_metrics(labels, rows, class_names="ab"), num_bins=10
    )
    above, below = figure.axes
    x, y = above.lines[1].get_data()
    np.testing.assert_allclose(x, [0.55, 0.95])
    np.testing.assert_allclose(y, [0.5, 0.9])
    assert [bar.get_height() for bar in below.patches] == [0] * 5 + [10, 0, 0, 0, 10]
    assert above.get_title() == "expected calibration error 5.0 %"
    assert [text.get_text() for text in above.get_legend().get_texts()] == [
        "perfect calibration",
        "this classifier",
    ]


def test_known_probabilities_are_not_predicted_again(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = _test_set()
    known = model.predict(images, verbose=0)
    usual = {
        which: _texts(charts.prediction_grid(model, (images, labels), which=which))
        for which in ("confident", "random", "worst")
    }
    monkeypatch.setattr(image_grids, "predict", None)
    for which, titles in usual.items():
        grid = charts.prediction_grid(model, (images, labels), which=which, probabilities=known)
        assert _texts(grid) == titles
    with pytest.raises(DataError, match=r"`probabilities` must have shape \(30, 3\), got \(2, 3\)"):
        charts.prediction_grid(model, (images, labels), probabilities=known[:2])


def _smallest(figure: Figure) -> float:
    """Return the points of the smallest text on a figure."""
    figure.savefig(io.BytesIO())
    texts = figure.findobj(lambda each: isinstance(each, Text) and each.get_text().strip() != "")
    return min(text.get_fontsize() for text in texts)


def _wide_evaluation(classes: int) -> tlkit.evaluation.Evaluation:
    labels = np.arange(4 * classes) % classes
    rows = np.random.default_rng(0).dirichlet(np.ones(classes), len(labels))
    return compute_metrics(labels, rows, class_names=[f"class {n}" for n in range(classes)])


@pytest.mark.parametrize(
    "drawn",
    [
        lambda model: charts.prediction_grid(model, _test_set()),
        lambda model: charts.prediction_grid(model, _test_set(), which="confident"),
        lambda model: charts.learning_curves(_run()),
        lambda model: charts.confusion_matrix(_wide_evaluation(12)),
        lambda model: charts.reliability_diagram(_wide_evaluation(5)),
        lambda model: saliency.grad_cam_grid(model, _test_set()),
        lambda model: saliency.feature_map(model, _test_set()),
    ],
)
def test_every_figure_is_legible_on_a_phone_and_a_desk(model: keras.Model, drawn: Any) -> None:
    figure = drawn(model)
    points, inches = _smallest(figure), figure.get_figwidth()
    assert points * 350 / (72 * inches) >= 9  # the page's column on a phone 390 pixels wide
    assert points / 72 * 150 * 0.8 >= 11  # as wide as the page shows 150 dots an inch
    assert figure.get_figheight() >= inches


def test_captions_stay_within_their_picture(small_backbone: keras.Model) -> None:
    names = ["sunflowers of some kind", "incomprehensibilities", "tulips"]
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), class_names=names)
    images = np.zeros((9, 16, 16, 3), "uint8")
    figure = charts.prediction_grid(model, (images, np.arange(9) % 3))
    figure.savefig(io.BytesIO())
    for panel in figure.axes:
        title = panel.title.get_window_extent()
        assert title.width <= 1.1 * panel.get_window_extent().width


def test_many_classes_have_a_scale_in_place_of_numbers() -> None:
    few, many = (charts.confusion_matrix(_wide_evaluation(classes)) for classes in (12, 13))
    assert (len(few.axes), len(many.axes)) == (1, 2)
    assert len(few.axes[0].texts) > len(many.axes[0].texts) == 0
    assert many.axes[1].get_ylabel() == "share of the true class"
