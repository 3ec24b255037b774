"""Labels are matched with a classifier's classes by name, whichever dataset has the names."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit import Phase, TwoPhaseTrainer
from tlkit.data import batches
from tlkit.data.class_names import find_class_names
from tlkit.errors import DataError

ANIMALS = ("ant", "bee", "cat")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of "bee" and four of "cat", each of one shade."""
    for name, count in (("bee", 3), ("cat", 4)):
        (tmp_path / name).mkdir()
        for index in range(count):
            shade = np.full((9, 9), 200 if name == "bee" else index, "uint8")
            Image.fromarray(shade).save(tmp_path / name / f"{index}.png")
    return tmp_path


def load(folder: Path, **settings: Any) -> Any:
    settings = {"image_size": (9, 9), "color_mode": "grayscale", "shuffle": False, **settings}
    return keras.utils.image_dataset_from_directory(folder, verbose=False, **settings)


def read_labels(dataset: Any, class_names: tuple[str, ...] = ANIMALS) -> np.ndarray:
    checked = batches.validate(
        dataset,
        name="data",
        input_shape=(None, 9, 9, 1),
        num_classes=len(class_names),
        value_range=(0, 255),
        class_names=class_names,
    )
    return np.concatenate([labels for _, labels in batches.batches(checked, 1)])


def as_loader(names: Any, holder: str, labels: np.ndarray) -> Any:
    class Loader:
        dataset = SimpleNamespace(dataset=SimpleNamespace(**{holder: names}))

        def __iter__(self) -> Iterator[Any]:
            images = np.random.default_rng(0).integers(0, 256, (len(labels), 9, 9, 1), "uint8")
            yield images, labels

    return Loader()


@pytest.mark.parametrize("change", ["as it is", "shuffled and prefetched", "mapped and zipped"])
def test_a_directory_with_fewer_classes_is_matched_by_name(folder: Path, change: str) -> None:
    dataset = load(folder)
    if change == "shuffled and prefetched":
        dataset = dataset.cache().shuffle(2, seed=0).prefetch(1)
    if change == "mapped and zipped":
        dataset = dataset.map(lambda images, labels: (images, labels)).take(5)
    assert sorted(read_labels(dataset)) == [1, 1, 1, 2, 2, 2, 2]


def test_one_hot_labels_are_matched_by_name(folder: Path) -> None:
    labels = read_labels(load(folder, label_mode="categorical"))
    np.testing.assert_array_equal(labels, np.eye(3)[[1, 1, 1, 2, 2, 2, 2]])


@pytest.mark.parametrize(
    ("holder", "names"),
    [
        ("classes", ["cat", "ant"]),
        ("class_names", ("cat", "ant")),
        ("class_indices", {"ant": 1, "cat": 0}),
        ("features", {"image": None, "label": SimpleNamespace(names=["cat", "ant"])}),
    ],
)
def test_a_loaders_classes_are_matched_by_name(holder: str, names: Any) -> None:
    assert read_labels(as_loader(names, holder, np.array([0, 1, 0]))).tolist() == [2, 0, 2]


def test_a_class_that_the_classifier_lacks_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"`data` must have classes that the classifier knows.*bee"):
        read_labels(load(folder), ("ant", "cat", "dog"))


def test_classes_of_a_classifier_without_names_must_be_as_many(folder: Path) -> None:
    assert read_labels(load(folder), ("0", "1")).tolist() == [0, 0, 0, 1, 1, 1, 1]
    with pytest.raises(DataError, match=r"`data` must have 3 classes.* got 2: \['bee', 'cat'\]"):
        read_labels(load(folder), ("0", "1", "2"))


def test_numbers_that_a_directory_sorted_as_text_are_matched_as_numbers() -> None:
    names = tuple(sorted(map(str, range(12))))
    dataset = as_loader(list(names), "classes", np.arange(12))
    expected = [int(name) for name in names]
    assert read_labels(dataset, tuple(map(str, range(12)))).tolist() == expected


def test_data_without_class_names_has_none() -> None:
    assert find_class_names(as_loader(None, "classes", np.array([0]))) == ()
    assert find_class_names((np.zeros(3), np.zeros(3))) == ()


def test_a_classifier_without_class_names_takes_those_it_is_trained_on(
    small_backbone: keras.Model, folder: Path
) -> None:
    model = tlkit.build_classifier(small_backbone, 2, input_shape=(9, 9, 1), pixels=(0, 1))
    TwoPhaseTrainer(head=Phase()).fit(model, load(folder), verbose=False)
    assert tlkit.models.class_names(model) == ("bee", "cat")


@pytest.mark.parametrize("cache", [None, tlkit.Cache()])
def test_validation_data_with_fewer_classes_gives_the_accuracy_of_its_arrays(
    small_backbone: keras.Model, folder: Path, cache: tlkit.Cache | None
) -> None:
    model = tlkit.build_classifier(
        small_backbone, 3, input_shape=(9, 9, 1), pixels=(0, 1), class_names=ANIMALS, seed=0
    )
    images = np.concatenate([images for images, _ in load(folder)])
    run = TwoPhaseTrainer(head=Phase(epochs=3, learning_rate=0.1), cache=cache).fit(
        model,
        (images, np.array([1, 1, 1, 2, 2, 2, 2])),
        validation_data=load(folder),
        verbose=False,
    )
    score = tlkit.evaluate(model, load(folder))
    assert run.history["val_accuracy"][-1] == pytest.approx(score.accuracy)
    assert score.accuracy == 1.0
