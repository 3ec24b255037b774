from collections import Counter
from collections.abc import Callable

import pytest

from tlkit.data import splits
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import ConfigError, DataError

Make = Callable[..., ImageDataset]


def test_a_split_is_whole_and_about_as_large_as_asked(make_dataset: Make) -> None:
    made = splits.split(make_dataset(4000), test=0.2, validation=0.1, duplicates="allow")
    paths = [set(part.paths) for part in (made.train, made.validation, made.test)]
    assert len(set.union(*paths)) == sum(map(len, paths)) == 4000
    assert len(made.test) == pytest.approx(800, abs=80)
    assert len(made.validation) == pytest.approx(400, abs=60)
    for part in (made.train, made.validation, made.test):
        assert part.counts["a"] == pytest.approx(len(part) / 2, abs=50)


def test_files_added_later_move_none(make_dataset: Make) -> None:
    few = splits.split(make_dataset(300), duplicates="allow")
    many = splits.split(make_dataset(500), duplicates="allow")
    assert set(few.test.paths) == set(many.test.paths) & {f"{n}.png" for n in range(300)}
    other = splits.split(make_dataset(300), duplicates="allow", seed=1)
    assert set(other.test.paths) != set(few.test.paths)


def test_a_group_is_never_torn_apart(make_dataset: Make) -> None:
    groups = tuple(f"patient {number // 7}" for number in range(700))
    made = splits.split(make_dataset(700, groups=groups), test=0.3, duplicates="allow")
    assert not set(made.train.groups) & set(made.test.groups)
    assert len(made.test) == pytest.approx(210, abs=70)


def test_a_stratified_split_moves_few_of_the_old_for_the_new(make_dataset: Make) -> None:
    few = splits.split(make_dataset(300), duplicates="allow", stratify=True)
    assert few.test.counts == {"a": 30, "b": 30}
    many = splits.split(make_dataset(500), duplicates="allow", stratify=True)
    assert many.test.counts == {"a": 50, "b": 50}
    moved = set(few.test.paths) ^ (set(many.test.paths) & {f"{n}.png" for n in range(300)})
    assert len(moved) < 30
    assert len(splits.split(make_dataset(10), duplicates="allow", stratify=True).test) == 2


def _apart(made: splits.Split) -> bool:
    names = [set(part.paths) for part in (made.train, made.test)]
    return all(len({"0.png", "1.png"} & paths) == 1 for paths in names)


def test_duplicates_in_different_parts_are_refused_or_kept_together(make_dataset: Make) -> None:
    data = make_dataset(60, hashes=[0b1111, 0b1110])
    seed = next(
        seed for seed in range(100) if _apart(splits.split(data, duplicates="allow", seed=seed))
    )
    with pytest.raises(
        DataError,
        match=r"^Found one pair of duplicate .*parts: 0\.png \(t.*\) and 1\.png \(t.*together",
    ):
        splits.split(data, seed=seed)
    made = splits.split(data, seed=seed, duplicates="together")
    assert not _apart(made)
    assert [(pair.first, pair.second) for pair in made.duplicates] == [(0, 1)]


def test_the_same_image_with_two_labels_is_refused(make_dataset: Make) -> None:
    data = make_dataset(60, hashes=[5, 5], digests=["same", "same"])
    with pytest.raises(
        DataError, match=r"^Found one pair of identical images with different labels: 0\.png"
    ):
        splits.split(data)
    with pytest.raises(
        DataError, match=r"0\.png .*Delete or relabel one image of each pair"
    ) as caught:
        splits.split(data, duplicates="together")
    assert str(caught.value).endswith(
        "with `duplicates='allow'`, which also lets copies be in different parts."
    )
    splits.split(data, duplicates="allow")


def test_pairs_in_different_parts_come_first(make_dataset: Make) -> None:
    hashes = [bits for pair in range(8) for bits in (255 << 8 * pair, 255 << 8 * pair)]
    data = make_dataset(60, hashes=hashes)
    made = splits.split(data, test=0.4, duplicates="allow")
    tested = {*made.test.paths}
    apart = [
        (f"{pair.first}.png" in tested) != (f"{pair.second}.png" in tested)
        for pair in made.duplicates
    ]
    assert 0 < made.num_apart < len(apart) == 8
    assert apart == sorted(apart, reverse=True)


def test_a_part_without_an_image_of_a_class_is_refused(make_dataset: Make) -> None:
    with pytest.raises(DataError, match=r"Every part must have images of every class, got none"):
        splits.split(make_dataset(4), test=0.2, duplicates="allow")
    with pytest.raises(ConfigError, match="`test \\+ validation` must be a number of at least 0"):
        splits.split(make_dataset(4), test=0.6, validation=0.5)


def test_a_chain_of_similar_images_takes_no_more_than_a_tenth_of_a_class(
    make_dataset: Make,
) -> None:
    chain = [((1 << 40) - 1) & ~((1 << bit) - 1) | 1 << 50 for bit in range(1, 40)]  # a bit each
    data = make_dataset(hashes=[*chain, *(each | 1 << 63 | 15 << 52 for each in chain)])
    for size, limit in ((78, 10), (1000, 50)):
        groups = splits.find_groups(make_dataset(size - 78, hashes=_hashes(data)))
        assert max(Counter(groups).values()) <= limit
        assert len(set(groups)) < size - 40  # and yet they are grouped
    made = splits.split(data, duplicates="together", stratify=True)
    assert made.largest_group <= 10
    part_of = {path: name for name in ("train", "test") for path in getattr(made, name).paths}
    assert (
        0
        < made.num_apart
        == sum(
            part_of[f"{pair.first}.png"] != part_of[f"{pair.second}.png"]
            for pair in made.duplicates
        )
    )
    assert f"in groups of up to {made.largest_group}: {made.num_apart} in different" in str(made)
    tested = sum(
        {part_of[f"{pair.first}.png"], part_of[f"{pair.second}.png"]} == {"test"}
        for pair in made.duplicates
    )
    assert 0 < made.num_in_test == tested < len(made.duplicates) - made.num_apart
    assert str(made).endswith(
        f", {tested} within the test images, where both images of a pair count"
    )


def _hashes(data: ImageDataset) -> list[int]:
    return [scan.perceptual_hash for scan in data.scans]


def test_identical_images_stay_together_however_many(make_dataset: Make) -> None:
    data = make_dataset(60, digests=["same"] * 30)
    groups = splits.find_groups(data)
    assert len(set(groups[:30])) == 1


def test_the_advice_is_one_that_is_not_followed_yet(make_dataset: Make) -> None:
    few = make_dataset(hashes=[3, 2, 5 << 20, 5 << 20 | 1])
    with pytest.raises(DataError) as caught:
        splits.split(few, duplicates="together", stratify=True)
    assert "duplicates='allow'" in str(caught.value)
    assert "stratify" not in str(caught.value)
    with pytest.raises(DataError) as caught:
        splits.split(make_dataset(4), duplicates="together")
    assert "stratify=True" in str(caught.value)
    assert "allow" not in str(caught.value)
