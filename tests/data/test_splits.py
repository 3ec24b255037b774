from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from tlkit import sources
from tlkit.data import splits
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.scanning import Scan
from tlkit.errors import ConfigError, DataError


def _far_apart(count: int) -> list[int]:
    return np.random.default_rng(1).integers(1, 2**63, count).tolist()


def _source(count: int, *, classes: int = 2, groups: tuple[str, ...] = ()) -> ImageDataset:
    """Images that are nothing but their digest."""
    return ImageDataset(
        name="made",
        images=np.zeros((count, 1, 1), "uint8"),
        labels=np.arange(count) % classes,
        class_names=tuple("abcdef"[:classes]),
        paths=tuple(f"{number}.png" for number in range(count)),
        groups=groups,
        known_scans=tuple(
            Scan(digest=f"digest {number}", perceptual_hash=mark)
            for number, mark in enumerate(_far_apart(count))
        ),
    )


def _marked(marks: list[int], digests: list[str] | None = None) -> ImageDataset:
    made = _source(len(marks))
    digests = digests or [f"digest {place}" for place in range(len(marks))]
    known = tuple(
        Scan(digest=digest, perceptual_hash=mark)
        for digest, mark in zip(digests, marks, strict=True)
    )
    return ImageDataset(**{**vars(made), "known_scans": known})


def test_a_split_is_whole_and_about_as_large_as_asked() -> None:
    made = splits.split(_source(4000), test=0.2, validation=0.1, duplicates="allow")
    paths = [set(part.paths) for part in (made.train, made.validation, made.test)]
    assert len(set.union(*paths)) == sum(map(len, paths)) == 4000
    assert len(made.test) == pytest.approx(800, abs=80)
    assert len(made.validation) == pytest.approx(400, abs=60)
    for part in (made.train, made.validation, made.test):
        assert part.counts["a"] == pytest.approx(len(part) / 2, abs=50)


def test_files_added_later_move_none() -> None:
    few = splits.split(_source(300), duplicates="allow")
    many = splits.split(_source(500), duplicates="allow")
    assert set(few.test.paths) == set(many.test.paths) & {f"{n}.png" for n in range(300)}
    other = splits.split(_source(300), duplicates="allow", seed=1)
    assert set(other.test.paths) != set(few.test.paths)


def test_a_group_is_never_torn_apart() -> None:
    groups = tuple(f"patient {number // 7}" for number in range(700))
    made = splits.split(_source(700, groups=groups), test=0.3, duplicates="allow")
    assert not set(made.train.groups) & set(made.test.groups)
    assert len(made.test) == pytest.approx(210, abs=70)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=30, max_size=80),
    st.sampled_from([0.1, 0.2, 0.5]),
)
def test_a_stratified_part_holds_its_share_of_every_class(
    images: list[tuple[int, int]], share: float
) -> None:
    """Off by no more than half of the largest group; groups are of one class here."""
    labels = np.asarray([label for label, _ in images])
    groups = tuple(f"{label} {group}" for label, group in images)
    numbers = splits._spread_evenly(splits._hash_to_unit(groups, 0), labels)
    parts = splits._assign_parts(numbers, {"test": share, "validation": 0.0})
    for label in np.unique(labels):
        largest = max(groups.count(name) for name in groups if name.startswith(f"{label} "))
        wanted = share * (labels == label).sum()
        assert abs((parts[labels == label] == "test").sum() - wanted) <= largest / 2
    assert len(set(zip(groups, parts.tolist(), strict=True))) == len(set(groups))


def test_a_stratified_split_moves_few_of_the_old_for_the_new() -> None:
    few = splits.split(_source(300), duplicates="allow", stratify=True)
    assert few.test.counts == {"a": 30, "b": 30}
    many = splits.split(_source(500), duplicates="allow", stratify=True)
    assert many.test.counts == {"a": 50, "b": 50}
    moved = set(few.test.paths) ^ (set(many.test.paths) & {f"{n}.png" for n in range(300)})
    assert len(moved) < 30
    assert len(splits.split(_source(10), duplicates="allow", stratify=True).test) == 2


def test_near_duplicates_are_found() -> None:
    source = _marked([1 << 40, 0xFFFF, 0xFFF0, 0xF0F0F0F0F0F0])
    pairs = splits.find_duplicates(source)
    assert [(pair.first, pair.second, pair.exact) for pair in pairs] == [(1, 2, False)]


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=5, unique=True),
    st.lists(st.lists(st.integers(0, 63), max_size=6), max_size=12),
    st.randoms(use_true_random=False),
)
def test_all_hashes_within_four_bits_are_connected(
    marks: list[int], flips: list[list[int]], random: Random
) -> None:
    """Each flip changes an earlier mark, so that there are chains, and marks that are equal."""
    for bits in flips:
        near = random.choice(marks)
        for bit in bits:
            near ^= 1 << bit
        marks = [*marks, near or 1]
    random.shuffle(marks)
    pairs = [(pair.first, pair.second) for pair in splits.find_duplicates(_marked(marks))]
    assert all((marks[one] ^ marks[other]).bit_count() <= 4 for one, other in pairs)
    wanted = [
        (one, other)
        for other in range(len(marks))
        for one in range(other)
        if (marks[one] ^ marks[other]).bit_count() <= 4
    ]
    assert _components(len(marks), pairs) == _components(len(marks), wanted)
    assert all(one < other for one, other in pairs)
    assert len(pairs) == len(marks) - len(
        set(_components(len(marks), pairs))
    )  # and no more than needed


def _components(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """Return the number of the connected component of each."""
    matrix = np.zeros((count, count))
    for pair in pairs:
        matrix[pair] = 1
    components: list[int] = connected_components(matrix, directed=False)[1].tolist()
    return components


def _apart(made: splits.Split) -> bool:
    names = [set(part.paths) for part in (made.train, made.test)]
    return all(len({"0.png", "1.png"} & paths) == 1 for paths in names)


def _two_alike(seed: int) -> splits.Split:
    marks = [0b1111, 0b1110, *_far_apart(60)]
    return splits.split(_marked(marks), duplicates="allow", seed=seed)


def test_duplicates_in_different_parts_are_refused_or_kept_together() -> None:
    seed = next(seed for seed in range(100) if _apart(_two_alike(seed)))
    marks = [0b1111, 0b1110, *_far_apart(60)]
    with pytest.raises(DataError, match=r"1 pairs .* 0\.png \(t.*\) and 1\.png \(t.*together"):
        splits.split(_marked(marks), seed=seed)
    made = splits.split(_marked(marks), seed=seed, duplicates="together")
    assert not _apart(made)
    assert [(pair.first, pair.second) for pair in made.duplicates] == [(0, 1)]


def test_the_same_image_with_two_labels_is_refused() -> None:
    digests = ["same", "same", *(f"digest {place}" for place in range(60))]
    marks = [5, 5, *_far_apart(60)]
    with pytest.raises(
        DataError, match=r"0 pairs .* 1 pairs of identical images have different labels: 0\.png"
    ):
        splits.split(_marked(marks, digests))
    with pytest.raises(DataError, match=r"0\.png .* Keep one label for each of them"):
        splits.split(_marked(marks, digests), duplicates="together")
    splits.split(_marked(marks, digests), duplicates="allow")


def test_a_part_without_an_image_of_a_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"Every part must have images of every class, got none"):
        splits.split(_source(4), test=0.2, duplicates="allow")
    with pytest.raises(ConfigError, match="`test \\+ validation` must be a number of at least 0"):
        splits.split(_source(4), test=0.6, validation=0.5)


def test_duplicate_arrays_are_found_by_their_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), "uint8")
    images = np.concatenate([images, images[:1]])
    labels = np.arange(51) % 2
    labels[50] = labels[0]
    source = sources.from_arrays(images, labels, class_names=["a", "b"])
    assert [(p.first, p.second, p.exact) for p in splits.find_duplicates(source)] == [(0, 50, True)]
    made = splits.split(source)
    assert len(made.train) + len(made.test) == 51
