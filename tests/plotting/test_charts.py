import io
import sys
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import tlkit
from tlkit.evaluation.metrics import compute_metrics
from tlkit.plotting import charts, curves, feature_maps, image_grids, saliency
from tlkit.training.verification import Movement


def make_run() -> tlkit.training.Run:
    movement = Movement(moved=1, untouched=1)
    phases = [
        tlkit.training.PhaseRun(
            name=name,
            history=dict.fromkeys(
                ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"), losses
            ),
            seconds=1,
            best_epoch=0,
            movement=movement,
        )
        for name, losses in [("head", [0.9, 0.5, 0.4]), ("fine_tune", [0.3, 0.2])]
    ]
    return tlkit.training.Run(phases=tuple(phases))


def test_the_confusion_matrix_shows_every_count() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    rows = np.eye(2)[[0, 0, 1, 1, 1]]
    result = compute_metrics(labels, rows, class_names=["kitten", "puppy"])
    panel = charts.confusion_matrix(result).axes[0]
    shown = {text.get_position(): text.get_text() for text in panel.texts}
    assert shown == {(0, 0): "2", (1, 0): "1", (1, 1): "2"}
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["kitten", "puppy"]
    assert "80.0 %" in panel.get_title()


def test_figures_do_not_use_pyplot(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray]
) -> None:
    before = set(getattr(sys.modules.get("matplotlib.pyplot"), "get_fignums", list)())
    image_grids.prediction_grid(model, noise)
    curves.learning_curves(make_run())
    assert set(getattr(sys.modules.get("matplotlib.pyplot"), "get_fignums", list)()) == before


def test_a_probe_is_drawn_by_depth_and_by_cost() -> None:
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


def test_the_reliability_diagram_shows_each_bin_with_predictions() -> None:
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


def test_the_legend_of_the_reliability_diagram_covers_no_bin() -> None:
    for confidence, correct in ((0.85, 1), (0.55, 9)):  # below the diagonal, and above it
        rows = np.array([[confidence, 1 - confidence]] * 10 + [[1, 0]] * 10)
        labels = np.array([0] * correct + [1] * (10 - correct) + [0] * 10)
        figure = charts.reliability_diagram(compute_metrics(labels, rows, class_names="ab"))
        figure.savefig(io.BytesIO())
        above = figure.axes[0]
        points = above.transData.transform(above.lines[1].get_xydata())
        box = above.get_legend().get_window_extent()
        assert not any(box.contains(*point) for point in points)


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
    "draw",
    [
        lambda model, noise: image_grids.prediction_grid(model, noise),
        lambda model, noise: image_grids.prediction_grid(model, noise, which="confident"),
        lambda model, noise: curves.learning_curves(make_run()),
        lambda model, noise: charts.confusion_matrix(_wide_evaluation(12)),
        lambda model, noise: charts.reliability_diagram(_wide_evaluation(5)),
        lambda model, noise: saliency.grad_cam_grid(model, noise),
        lambda model, noise: feature_maps.feature_map(model, noise),
    ],
)
def test_every_figure_is_legible_on_a_phone_and_on_a_desk(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray], draw: Any
) -> None:
    figure = draw(model, noise)
    points, inches = _smallest(figure), figure.get_figwidth()
    assert points * 350 / (72 * inches) >= 9  # the column of a page on a phone 390 pixels wide
    assert points / 72 * 150 * 0.8 >= 11  # the width at which a page shows 150 dots an inch
    assert figure.get_figheight() >= inches


def test_many_classes_have_a_scale_instead_of_numbers() -> None:
    few, many = (charts.confusion_matrix(_wide_evaluation(classes)) for classes in (12, 13))
    assert (len(few.axes), len(many.axes)) == (1, 2)
    assert len(few.axes[0].texts) > len(many.axes[0].texts) == 0
    assert many.axes[1].get_ylabel() == "share of the true class"
