"""Find duplicate and near-duplicate images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from tlkit.data.image_dataset import ImageDataset

_MAX_BITS = 4  # by which the hashes of near-duplicates differ
_BANDS = _MAX_BITS + 1
_MAX_COMPARED = 2**22  # pairs of hashes at a time
_MAX_EDGES = 2**20


@dataclass(frozen=True, kw_only=True)
class DuplicatePair:
    """Two images that are duplicates or near-duplicates.

    Attributes:
        first: The index of one image.
        second: The index of the other, which is larger.
        exact: Whether their contents are identical, bit for bit.
    """

    first: int
    second: int
    exact: bool


def find_duplicates(data: ImageDataset) -> list[DuplicatePair]:
    """Return pairs of images that are identical, or whose hashes differ by at most 4 bits.

    The hashes are imagehash's perceptual hashes. Of several similar images, not all pairs
    are returned, of which a video has millions, but as few as connect them.

    Args:
        data: The images.
    """
    pairs: list[DuplicatePair] = []
    by_content: dict[str, int] = {}
    for index, scan in enumerate(data.scans):
        first = by_content.setdefault(scan.digest, index)
        if first != index:
            pairs.append(DuplicatePair(first=first, second=index, exact=True))
    by_hash: dict[int, int] = {}
    for index in by_content.values():
        perceptual_hash = data.scans[index].perceptual_hash
        first = by_hash.setdefault(perceptual_hash, index) if perceptual_hash else index
        if first != index:
            pairs.append(DuplicatePair(first=first, second=index, exact=False))
    indices = list(by_hash.values())
    for one, other in _connect_near(np.asarray(list(by_hash), dtype="uint64")):
        pairs.append(DuplicatePair(first=indices[one], second=indices[other], exact=False))
    return pairs


# Comparing every hash with every other takes too long for many images. But if two hashes of 64
# bits are cut into five bands and differ in at most four bits, then at least one band has no
# differing bit (the pigeonhole principle). So it is enough to compare the hashes that agree in a
# band: for each band, hashes are sorted by it, and only those with the same value are compared.
# What is found is a graph of hashes. Its minimum spanning forest has as few pairs as connect the
# same hashes, and of those the most similar ones; it is taken whenever the graph gets large, so
# that memory stays bounded for a video whose frames are all similar.
def _connect_near(hashes: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of indices, the smaller first, that connect all hashes that are near."""
    found: list[np.ndarray] = []  # rows of first, second, and how many bits differ
    count = 0
    earlier: list[np.uint64] = []
    width = -(-64 // _BANDS)
    for band in range(_BANDS):
        mask = np.uint64(((1 << width) - 1) << (width * band) & (2**64 - 1))
        order = np.argsort(hashes & mask, kind="stable")
        borders = np.flatnonzero(np.diff(hashes[order] & mask)) + 1
        for same in np.split(order, borders):
            for edges in _compare(hashes, same, earlier):
                found.append(edges)
                count += len(edges)
                if count > _MAX_EDGES:
                    found = [_spanning_forest(found, len(hashes))]
                    count = len(found[0])
        earlier.append(mask)
    return [(int(first), int(second)) for first, second, _ in _spanning_forest(found, len(hashes))]


def _compare(
    hashes: np.ndarray, indices: np.ndarray, earlier: Sequence[np.uint64]
) -> Iterator[np.ndarray]:
    """Yield pairs of these indices, which are sorted, whose hashes differ in few bits.

    Pairs that agree in an earlier band were compared there.
    """
    rows = max(_MAX_COMPARED // len(indices), 1)
    for start in range(0, len(indices) if len(indices) > 1 else 0, rows):
        block = indices[start : start + rows]
        differing = hashes[block][:, None] ^ hashes[indices][None]
        near = (np.bitwise_count(differing) <= _MAX_BITS) & (block[:, None] < indices[None])
        for mask in earlier:
            near &= differing & mask != 0
        one, other = np.nonzero(near)
        bits = np.bitwise_count(differing[one, other])
        yield np.stack([block[one], indices[other], bits], axis=1)


def _spanning_forest(edges: list[np.ndarray], count: int) -> np.ndarray:
    """Return the edges of a minimum spanning forest of a graph with this many nodes."""
    first, second, bits = np.concatenate([np.empty((0, 3), "int64"), *edges]).T
    graph = coo_array((bits, (first, second)), shape=(count, count))
    forest = minimum_spanning_tree(graph.tocsr()).tocoo()
    return np.stack([forest.row, forest.col, forest.data], axis=1).astype("int64")
