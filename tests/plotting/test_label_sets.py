"""Figures of classifiers whose images can have several classes, or none."""

import keras
import numpy as np
import pytest
from tests.samples import small_classifier

from tlkit import plotting
from tlkit.errors import DataError
from tlkit.evaluation import compute_metrics
from tlkit.plotting.captions import write_label_sets
from tlkit.plotting.label_sets import LabelErrors, choose_images, choose_predictions

NAMES = ["cat", "dog", "eel"]
TRUTH = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]])
SHARES = np.array([[0.9, 0.8, 0.1], [0.2, 0.95, 0.1], [0.1, 0.3, 0.6], [0.7, 0.1, 0.55]])
HALF = np.full(3, 0.5)


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    return small_classifier(small_backbone, class_names=NAMES, multi_label=True)


@pytest.fixture
def noise() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.integers(0, 256, (20, 9, 9, 1), "uint8"), random.integers(0, 2, (20, 3))


class Panel:
    """Stands for axes, and keeps their title."""

    def __init__(self) -> None:
        self.spines: dict[str, object] = {}

    def set_title(self, title: str, **style: object) -> None:
        self.title = title.replace("\n", " ")

    def set(self, **settings: object) -> None:
        pass


@pytest.mark.parametrize(
    ("index", "title"),
    [
        (0, "true cat, dog predicted cat (90 %), dog (80 %)"),
        (1, "true none WRONG: predicted dog (95 %)"),
        (2, "true dog, eel WRONG: missed dog (30 %)"),
        (3, "true cat WRONG: predicted eel (55 %)"),
    ],
)
def test_a_caption_names_what_is_wrong(index: int, title: str) -> None:
    panel = Panel()
    write_label_sets(panel, NAMES, TRUTH[index], SHARES[index], HALF)
    assert panel.title == title


def test_images_are_chosen_by_what_is_wrong() -> None:
    errors = LabelErrors.find(TRUTH, SHARES, HALF)
    choose = {
        which: choose_images(TRUTH, errors, count=4, which=which, seed=0).tolist()
        for which in ("confident", "worst", "wrong", "per_class", "random")
    }
    assert choose["confident"] == [1, 2, 3]
    assert sorted(choose["wrong"]) == [1, 2, 3]
    assert choose["worst"][0] == 1 and len(choose["worst"]) == 4
    assert len(choose["per_class"]) >= 2 and 1 not in choose["per_class"]
    assert sorted(choose["random"]) == [0, 1, 2, 3]


def test_half_of_the_explained_predictions_are_wrong_ones() -> None:
    errors = LabelErrors.find(TRUTH, SHARES, HALF)
    images, classes = choose_predictions(errors, SHARES, count=4, seed=0)
    assert list(zip(images[:2], classes[:2], strict=True)) == [(1, 1), (3, 2)]
    assert all(TRUTH[image, each] for image, each in zip(images[2:], classes[2:], strict=True))
    nothing = LabelErrors.find(TRUTH, SHARES * 0.1, HALF)
    images, classes = choose_predictions(nothing, SHARES, count=2, seed=0)
    assert (images.tolist(), classes.tolist()) == ([0, 1], [0, 1])


@pytest.mark.parametrize("which", ["random", "worst", "confident", "per_class"])
def test_grids_are_drawn(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray], which: str
) -> None:
    figure = plotting.prediction_grid(model, noise, count=4, which=which)
    assert all(panel.get_title().startswith("true ") for panel in figure.axes)


def test_grad_cam_is_of_the_class_that_is_named(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray]
) -> None:
    figure = plotting.grad_cam_grid(model, noise, count=2)
    assert any("class " in panel.get_title() for panel in figure.axes)


def test_a_map_is_refused(model: keras.Model, noise: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(DataError, match="classes that exclude each other for a map"):
        plotting.feature_map(model, noise)


def test_the_metrics_of_each_class_are_drawn() -> None:
    truth = np.tile(TRUTH, (5, 1))
    truth[:, 2] = 0
    found = compute_metrics(truth, np.tile(SHARES, (5, 1)), class_names=NAMES)
    panel = plotting.class_metrics(found).axes[0]
    assert [text.get_text() for text in panel.get_yticklabels()] == NAMES
    points = [x for line in panel.lines if line.get_marker() == "o" for x in line.get_xdata()]
    assert found.classes[0].average_precision in points
    with pytest.raises(DataError, match="classes that exclude each other"):
        plotting.confusion_matrix(found)
    single = compute_metrics(np.array([0, 1]), np.eye(2), class_names="ab")
    with pytest.raises(DataError, match="must be multi-label"):
        plotting.class_metrics(single)
    assert plotting.reliability_diagram(found).axes[1].get_xlabel() == "probability of a class"


def test_of_a_hundred_classes_the_weakest_are_drawn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (60, 100))
    names = [f"class {number}" for number in range(100)]
    figure = plotting.class_metrics(
        compute_metrics(truth, random.random((60, 100)), class_names=names)
    )
    assert max(figure.get_size_inches()) < 14
    [panel] = figure.axes
    assert len(panel.get_yticklabels()) == 40
    assert "40 of 100 classes, with the lowest F1" in panel.get_title()
