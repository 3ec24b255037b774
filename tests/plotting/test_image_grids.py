import io
from functools import partial

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation import Audit, Suspect
from tlkit.plotting import audit_grid, image_grids, prediction_grid


def _titles(figure: Figure) -> list[str]:
    return [panel.get_title() for panel in figure.axes]


def test_each_panel_shows_the_image_with_its_true_and_predicted_class(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = noise
    probabilities = model.predict(images, verbose=0)
    panels = prediction_grid(model, (images, labels), count=30, seed=3).axes
    order = np.random.default_rng(3).choice(30, size=30, replace=False)
    assert len(panels) == 30
    for panel, index in zip(panels, order, strict=True):
        np.testing.assert_allclose(
            panel.images[0].get_array(), images[index, :, :, 0] / 255, atol=1e-6
        )
        assert panel.images[0].get_cmap().name == "gray"
        predicted, share = "abc"[probabilities[index].argmax()], probabilities[index].max()
        wrong = predicted != "abc"[labels[index]]
        word = "WRONG: " if wrong else "predicted "
        assert (
            panel.get_title()
            == f"true {'abc'[labels[index]]}\n{word}{predicted} ({100 * share:.0f} %)"
        )
        assert (panel.spines["top"].get_linewidth() > 2) == wrong


def test_the_seed_chooses_the_images_and_a_short_last_row_stays_empty(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray]
) -> None:
    first, again, other = (
        [p.get_title() for p in prediction_grid(model, noise, count=7, seed=s).axes]
        for s in (0, 0, 1)
    )
    assert first == again != other
    assert len(first) == 7


def test_colour_images_are_drawn_in_colour(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(small_backbone, 2, pixels=(0, 1))
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), "uint8")
    panel = prediction_grid(model, (images, np.array([0, 1])), count=1).axes[0]
    assert panel.images[0].get_array().shape == (9, 9, 3)


def test_a_dollar_in_a_class_name_does_not_start_a_formula(small_backbone: keras.Model) -> None:
    names = ["$5_$", "$5_to_$10"]
    model = tlkit.build_classifier(small_backbone, 2, pixels=(0, 1), class_names=names)
    images, labels = np.zeros((4, 16, 16, 3), "uint8"), np.arange(4) % 2
    grid = prediction_grid(model, (images, labels))
    assert "$5_to_$10" in " ".join(panel.get_title() for panel in grid.axes)
    grid.savefig(io.BytesIO())


def test_wrong_arguments_are_refused(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(ConfigError, match="`count` must be a whole number of at least 1"):
        prediction_grid(model, noise, count=0)
    with pytest.raises(DataError, match="one label for each of the 30 images"):
        prediction_grid(model, (noise[0], np.zeros(2, int)))


def test_the_choice_decides_which_images_are_drawn(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tlkit.build_classifier(small_backbone, 2, pixels=(0, 1), class_names=["cat", "dog"])
    images = np.zeros((6, 16, 16, 3), "uint8")
    images[:, 0, 0, 0] = range(6)
    labels = np.array([0, 0, 0, 1, 1, 1])
    dog = np.array([0.1, 0.9, 0.6, 0.2, 0.7, 0.45])

    def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
        rows = dog[images[:, 0, 0, 0]]
        return np.stack([1 - rows, rows], axis=1)

    monkeypatch.setattr(image_grids, "predict", predict)
    grid = partial(prediction_grid, model, (images, labels))
    confident = [title.split("\n", 1)[1] for title in _titles(grid(which="confident"))]
    assert confident == [
        "WRONG: dog (90 %)",
        "WRONG: cat (80 %)",
        "WRONG: dog (60 %)",
        "WRONG: cat (55 %)",
    ]
    worst = [title.split("\n", 1)[1] for title in _titles(grid(which="worst", count=2))]
    assert worst == ["WRONG: dog (90 %)", "WRONG: cat (80 %)"]
    wrong = [title.split("\n", 1)[1] for title in _titles(grid(which="wrong"))]
    assert sorted(wrong) == sorted(confident)
    one = {_titles(grid(which="wrong", count=1, seed=seed))[0] for seed in range(8)}
    assert len(one) > 1  # a random choice, not always the most confident
    each = [title.splitlines()[0] for title in _titles(grid(which="per_class", count=4))]
    assert sorted(each) == ["true cat", "true cat", "true dog", "true dog"]
    with pytest.raises(ConfigError, match="`which` must be one of"):
        grid(which="wrost")
    dog[:] = labels
    [note] = grid(which="confident").texts
    assert note.get_text() == "none of 6 images is misclassified"


def test_known_probabilities_are_not_predicted_again(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = noise
    known = model.predict(images, verbose=0)
    usual = {
        which: _titles(prediction_grid(model, (images, labels), which=which))
        for which in ("confident", "random", "worst", "wrong")
    }
    monkeypatch.setattr(image_grids, "predict", None)
    for which, titles in usual.items():
        grid = prediction_grid(model, (images, labels), which=which, probabilities=known)
        assert _titles(grid) == titles
    with pytest.raises(DataError, match=r"`probabilities` must have shape \(30, 3\), got \(2, 3\)"):
        prediction_grid(model, (images, labels), probabilities=known[:2])


def test_captions_stay_within_their_panel(small_backbone: keras.Model) -> None:
    names = ["sunflowers of some kind", "incomprehensibilities", "tulips"]
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), class_names=names)
    images = np.zeros((9, 16, 16, 3), "uint8")
    figure = prediction_grid(model, (images, np.arange(9) % 3))
    figure.savefig(io.BytesIO())
    for panel in figure.axes:
        title = panel.title.get_window_extent()
        assert title.width <= 1.1 * panel.get_window_extent().width
        assert panel.get_title().count("\n") <= 2


def _audit(count: int, path: str | None) -> Audit:
    suspects = tuple(
        Suspect(index=index, path=path, label="a", suggested_label="b", score=index / 100)
        for index in range(count)
    )
    return Audit(suspects=suspects, outliers=(), scores=np.linspace(0, 1, 40), num_folds=5)


def test_an_audit_grid_shows_the_first_suspects_with_both_labels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 1), "uint8")
    path = r"a_very_long_folder/$\x$ & <tags>/0001-of-a-long-name.png"
    figure = audit_grid(_audit(12, path), (images, np.zeros(12)), count=7)
    figure.savefig(io.BytesIO())  # the dollars start no formula
    assert len(figure.axes) == 7
    for index, panel in enumerate(figure.axes):
        assert panel.get_title() == "label a\nmaybe b"
        assert panel.get_xlabel().replace("\n", "") == "0001-of-a-long-name.png"
        assert panel.get_window_extent().width > 0.9 * figure.bbox.width / 3
        np.testing.assert_allclose(panel.images[0].get_array(), images[index, ..., 0] / 255)


def test_an_audit_without_suspects_is_refused() -> None:
    with pytest.raises(DataError, match="must have at least 1 suspect"):
        audit_grid(_audit(0, None), (np.zeros((3, 4, 4)), np.zeros(3)))


def test_captions_of_an_audit_grid_never_touch() -> None:
    names = ["WWWWMMMM mammal WWWMMM", "common dandelion of meadows", "M" * 20, "daisy"]
    paths = [
        "IMG_20260713_154533_HDR_edited(1).jpeg",
        "W" * 40 + ".png",
        "a photo of a d in a m.jpg",
    ]
    suspects = tuple(
        Suspect(
            index=at,
            path=paths[at % 3],
            label=names[at % 4],
            suggested_label=names[(at + 1) % 4],
            score=0.1,
        )
        for at in range(12)
    )
    audit = Audit(suspects=suspects, outliers=(), scores=np.zeros(40), num_folds=5)
    figure = audit_grid(audit, (np.zeros((12, 9, 9, 3), "uint8"), np.zeros(12, int)))
    figure.savefig(io.BytesIO(), dpi=figure.dpi)
    captions = [text for panel in figure.axes for text in (panel.title, panel.xaxis.label)]
    boxes = [text.get_window_extent() for text in captions]
    assert len(boxes) == 24
    for at, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[at + 1 :])
