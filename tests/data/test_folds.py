from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.data.folds import assign_folds
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.scanning import Scan
from tlkit.errors import ConfigError, DataError

Make = Callable[..., ImageDataset]


def _dataset(labels: list[int], groups: tuple[str, ...] = ()) -> ImageDataset:
    """Return a dataset of nothing but labels and scans, no two of which are near."""
    random = np.random.default_rng(1)
    scans = [
        Scan(digest=f"{number}", perceptual_hash=int(random.integers(1, 2**63)))
        for number in range(len(labels))
    ]
    names = tuple(f"class {each}" for each in range(max(labels) + 1))
    return ImageDataset(
        name="made",
        images=np.zeros((len(labels), 1, 1), "uint8"),
        labels=np.asarray(labels),
        class_names=names,
        groups=groups,
        known_scans=tuple(scans),
    )


@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=6), folds=st.integers(2, 7))
def test_no_two_folds_differ_by_more_than_an_image_of_a_class(
    counts: list[int], folds: int
) -> None:
    if sum(counts) < folds:
        return
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    found = assign_folds(_dataset(labels), folds=folds)
    for label in range(len(counts)):
        own = np.bincount(found[np.asarray(labels) == label], minlength=folds)
        assert max(own) - min(own) <= 1
    sizes = np.bincount(found, minlength=folds)
    assert max(sizes) - min(sizes) <= 1


def test_a_thousand_classes_of_three_are_in_folds_of_equal_size() -> None:
    labels = list(range(1000)) * 3
    found = assign_folds(_dataset(labels), folds=5)
    assert np.bincount(found).tolist() == [600] * 5
    for label in range(1000):
        assert len(set(found[label::1000].tolist())) == 3


def test_groups_and_duplicates_are_in_one_fold(make_dataset: Make) -> None:
    data = make_dataset(60, digests=["same"] * 6, groups=())
    found = assign_folds(data, folds=3)
    assert len(set(found[:6].tolist())) == 1
    groups = tuple(f"patient {number // 4}" for number in range(60))
    grouped = replace(make_dataset(60), groups=groups)
    found = assign_folds(grouped, folds=4)
    assert all(len(set(found[at : at + 4].tolist())) == 1 for at in range(0, 60, 4))
    assert np.bincount(found).tolist() == [16, 16, 16, 12]
    assert (assign_folds(grouped, folds=4, seed=1) != found).any()


def test_too_few_images_are_refused(make_dataset: Make) -> None:
    with pytest.raises(ConfigError, match="`folds` must be at most 4, the number of images"):
        assign_folds(_dataset([0, 0, 1, 1]), folds=5)
    with pytest.raises(DataError, match="Got only one of 'class 1'. Add images, or leave"):
        assign_folds(_dataset([0, 0, 0, 1]), folds=2)
    with pytest.raises(DataError, match="Got only one of 'class 0'"):
        assign_folds(_dataset([0, 0, 1, 1], groups=("x", "x", "y", "z")), folds=2)
    with pytest.raises(ConfigError, match="`folds` must be a whole number of at least 2, got 1"):
        assign_folds(_dataset([0, 0, 1, 1]), folds=1)
