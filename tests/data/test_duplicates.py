from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from tlkit import sources
from tlkit.data import duplicates
from tlkit.data.duplicates import find_duplicates
from tlkit.data.image_dataset import ImageDataset

Make = Callable[..., ImageDataset]


def test_near_duplicates_are_found(make_dataset: Make) -> None:
    data = make_dataset(hashes=[1 << 40, 0xFFFF, 0xFFF0, 0xF0F0F0F0F0F0])
    pairs = find_duplicates(data)
    assert [(pair.first, pair.second, pair.exact) for pair in pairs] == [(1, 2, False)]


@settings(max_examples=60)
@given(
    hashes=st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=5, unique=True),
    flips=st.lists(st.lists(st.integers(0, 63), max_size=6), max_size=12),
    random=st.randoms(use_true_random=False),
)
def test_all_hashes_within_four_bits_are_connected(
    make_dataset: Make, hashes: list[int], flips: list[list[int]], random: Random
) -> None:
    """Each flip changes an earlier hash, so that there are chains, and equal hashes."""
    for bits in flips:
        near = random.choice(hashes)
        for bit in bits:
            near ^= 1 << bit
        hashes = [*hashes, near or 1]
    random.shuffle(hashes)
    pairs = [(pair.first, pair.second) for pair in find_duplicates(make_dataset(hashes=hashes))]
    assert all((hashes[one] ^ hashes[other]).bit_count() <= 4 for one, other in pairs)
    wanted = [
        (one, other)
        for other in range(len(hashes))
        for one in range(other)
        if (hashes[one] ^ hashes[other]).bit_count() <= 4
    ]
    assert _components(len(hashes), pairs) == _components(len(hashes), wanted)
    assert all(one < other for one, other in pairs)
    assert len(pairs) == len(hashes) - len(
        set(_components(len(hashes), pairs))
    )  # and no more than needed


def _components(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """Return the number of the connected component of each."""
    matrix = np.zeros((count, count))
    for pair in pairs:
        matrix[pair] = 1
    components: list[int] = connected_components(matrix, directed=False)[1].tolist()
    return components


def test_a_video_needs_no_more_pairs_than_frames(
    make_dataset: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All frames are near each other, which would be 4,095 pairs; the graph is cut down midway."""
    frames = [(1 << 40) + (1 << bit) + (1 << other) for bit in range(14) for other in range(bit)]
    data = make_dataset(hashes=frames)
    assert len(find_duplicates(data)) == len(frames) - 1
    monkeypatch.setattr(duplicates, "_MAX_EDGES", 50)
    assert len(find_duplicates(data)) == len(frames) - 1


def test_duplicate_arrays_are_found_by_their_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), "uint8")
    images = np.concatenate([images, images[:1]])
    data = sources.from_arrays(images, np.arange(51) % 2, class_names="ab")
    assert [(p.first, p.second, p.exact) for p in find_duplicates(data)] == [(0, 50, True)]
