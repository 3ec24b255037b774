from dataclasses import replace

import numpy as np
import pytest

from tlkit.data.image_dataset import ImageDataset, Problem
from tlkit.errors import DataError


def _dataset() -> ImageDataset:
    return ImageDataset(
        name="pets",
        images=np.arange(4 * 4, dtype="uint8").reshape(4, 2, 2),
        labels=np.array([0, 1, 2, 1]),
        class_names=("cat", "dog", "eel"),
        paths=("a", "b", "c", "d"),
    )


def test_labels_follow_the_order_of_a_classifiers_classes() -> None:
    named = _dataset().reorder(["eel", "ape", "cat", "dog"])
    assert named.labels.tolist() == [2, 3, 0, 3]
    assert named.class_names == ("eel", "ape", "cat", "dog")
    assert named.counts == {"eel": 1, "ape": 0, "cat": 1, "dog": 2}
    with pytest.raises(DataError, match=r"that the classifier knows, \['cat', 'dog'\], got \['eel"):
        _dataset().reorder(["cat", "dog"])


def test_scans_go_with_the_images() -> None:
    dataset = _dataset()
    digests = [each.digest for each in dataset.scans]
    assert len(set(digests)) == 4
    assert [each.digest for each in dataset.take([2, 0]).scans] == [digests[2], digests[0]]
    assert [each.digest for each in _dataset().take([2, 0]).scans] == [digests[2], digests[0]]


def test_a_long_list_of_problems_is_cut_short_and_counted() -> None:
    problems = tuple(Problem(path=f"{number}.png", reason="it is empty") for number in range(12))
    line = str(replace(_dataset(), problems=problems)).splitlines()[-1]
    assert line.startswith("12 left out: 0.png: it is empty; 1.png: it is empty; ")
    assert line.endswith("9.png: it is empty; and 2 more")


def test_counts_are_told_from_classes_that_are_numbers() -> None:
    labels = np.repeat([0, 1], [1200, 3])
    images = np.zeros((1203, 2, 2), "uint8")
    dataset = ImageDataset(name="digits", images=images, labels=labels, class_names=("0", "1"))
    assert "\nimages of each class: 0 (1,200), 1 (3)" in str(dataset)
