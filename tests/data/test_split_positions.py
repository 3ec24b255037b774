import tracemalloc
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.data import split_positions


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
    numbers = split_positions.spread_evenly(split_positions.hash_to_unit(groups, 0), labels)
    parts = split_positions.assign_parts(numbers, {"test": share, "validation": 0.0})
    for label in np.unique(labels):
        largest = max(groups.count(name) for name in groups if name.startswith(f"{label} "))
        wanted = share * (labels == label).sum()
        assert abs((parts[labels == label] == "test").sum() - wanted) <= largest / 2
    assert len(set(zip(groups, parts.tolist(), strict=True))) == len(set(groups))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=60))
def test_each_group_takes_the_part_of_its_class_that_it_has_images(
    images: list[tuple[int, int]],
) -> None:
    places, labels = np.array(images).T
    found = split_positions.spread_evenly(places / 13, labels)
    groups = sorted(set(places.tolist()))
    classes = {
        each: Counter(sorted(labels[places == each])).most_common(1)[0][0] for each in groups
    }
    for each in groups:
        own = [other for other in groups if classes[other] == classes[each]]
        before = sum((places == other).sum() for other in own if other < each)
        size, total = (places == each).sum(), sum((places == other).sum() for other in own)
        np.testing.assert_allclose(found[places == each], (before + size / 2) / total)


def test_many_classes_are_split_without_a_count_for_each_image_and_class() -> None:
    random = np.random.default_rng(0)
    tracemalloc.start()
    split_positions.spread_evenly(random.random(20_000), random.integers(0, 5_000, 20_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # bytes; a count for each would be 800 MB
