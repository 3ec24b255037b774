from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from scipy.sparse.csgraph import connected_components

from tlkit import sources
from tlkit.data import splits
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


def test_a_video_needs_no_more_pairs_than_frames(make_dataset: Make) -> None:
    """All frames are near each other, which would be 4,095 pairs."""
    frames = [(1 << 40) + (1 << bit) + (1 << other) for bit in range(14) for other in range(bit)]
    data = make_dataset(hashes=frames)
    assert len(find_duplicates(data)) == len(frames) - 1


def _strokes(count: int, side: int = 28) -> np.ndarray:
    """Return a slanted stroke each, of nearly the same hash: as handwritten ones, or curves."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    tilt, place, width = (random.uniform(*each, (count, 1, 1)) for each in _STROKES)
    away = np.abs(x - side / 2 - place - tilt * (y - side / 2)) / width
    return np.rint(255 * np.exp(-(away**2)) * (np.abs(y - side / 2) < 10)).astype("uint8")


_STROKES = (-0.2, 0.2), (-2.5, 2.5), (1, 2)


def test_pictures_of_the_same_outline_are_no_duplicates() -> None:
    images = _strokes(400)
    data = sources.from_arrays(images, np.arange(400) % 2, class_names="ab")
    hashes = np.asarray([scan.perceptual_hash for scan in data.scans], dtype="uint64")
    near = np.bitwise_count(hashes[:, None] ^ hashes) <= 4
    groups = Counter(splits.find_groups(data))
    assert Counter(connected_components(near)[1].tolist()).most_common(1)[0][1] > 200
    assert groups.most_common(1)[0][1] <= 20  # a tenth of a class
    parts = splits.split(data, duplicates="together")
    assert min(*parts.test.counts.values(), *parts.train.counts.values()) > 20


def test_plots_in_the_same_frame_are_no_duplicates() -> None:
    x = np.arange(8, 120)
    plots = np.full((12, 128, 128), 255, "uint8")
    plots[:, 8:120, 8] = plots[:, 119, 8:120] = 0
    for number, plot in enumerate(plots):
        for row in (0, 1):
            plot[np.rint(64 + row + 30 * np.sin(x / 9 + number / 12 * 6.3)).astype(int), x] = 90
    data = sources.from_arrays(plots, np.arange(12) % 2, class_names="ab")
    hashes = np.asarray([scan.perceptual_hash for scan in data.scans], dtype="uint64")
    near = np.bitwise_count(hashes[:, None] ^ hashes) <= 4
    assert np.triu(near, 1).sum() > 3
    assert find_duplicates(data) == []


def test_copies_are_found_however_they_were_changed(tmp_path: Path) -> None:
    """A copy in less quality, of another size, brighter, without colours, and blurred."""
    random = np.random.default_rng(3)
    for number in range(20):
        small = Image.fromarray(random.integers(0, 256, (7, 7, 3), "uint8"))
        picture = small.resize((120, 90), Image.Resampling.BICUBIC)
        folder = tmp_path / "ab"[number % 2] / f"{number:02}"
        folder.mkdir(parents=True)
        picture.save(folder / "0.png")
        picture.save(folder / "1.jpg", quality=40)
        picture.resize((60, 50)).save(folder / "2.png")
        picture.point(lambda value: value // 2 + 60).save(folder / "3.png")
        picture.convert("L").save(folder / "4.bmp")
        picture.filter(ImageFilter.GaussianBlur(2)).save(folder / "5.webp")
    data = sources.from_folder(tmp_path, image_size=8)
    groups = [set(np.asarray(splits.find_groups(data))[n : n + 6]) for n in range(0, 120, 6)]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == 20


def test_pages_without_content_are_alike_only_in_their_grey() -> None:
    images = np.stack([np.full((32, 32), grey, "uint8") for grey in (10, 12, 250, 253)])
    data = sources.from_arrays(images, [0, 1, 0, 1], class_names="ab")
    found = {(pair.first, pair.second) for pair in find_duplicates(data)}
    assert found == {(0, 1), (2, 3)}


def test_duplicate_arrays_are_found_by_their_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), "uint8")
    images = np.concatenate([images, images[:1]])
    data = sources.from_arrays(images, np.arange(51) % 2, class_names="ab")
    assert [(p.first, p.second, p.exact) for p in find_duplicates(data)] == [(0, 50, True)]
