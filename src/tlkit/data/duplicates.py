"""Find duplicate and near-duplicate images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from tlkit._internal.signatures import check_arguments
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.scanning import Scan

_MAX_BITS = 4  # the largest number of differing bits in the hashes of near-duplicates
_BANDS = _MAX_BITS + 1
_MAX_COMPARED = 2**22  # pairs of hashes at a time
_MAX_LOOKED_AT = 2**12  # pairs of thumbnails at a time
_MAX_DIFFERENCE = 1.4  # of any pixel, in standard deviations of the image's pixels
_FLAT = 4.0  # standard deviation of the grey values, from 0 to 255, of an image without content


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


@check_arguments
def find_duplicates(data: ImageDataset) -> list[DuplicatePair]:
    """Return pairs of duplicates and near-duplicates, the most similar pairs first.

    Near-duplicates have perceptual hashes (imagehash's phash) that differ by at most 4 of 64 bits,
    and thumbnails without a large difference at any pixel. Several similar images can form very
    many pairs, millions in a video; only as many pairs as connect these images are returned.

    Args:
        data: The images.

    Returns:
        The pairs: first exact duplicates, then near-duplicates by increasing difference.
    """
    pairs: list[DuplicatePair] = []
    by_content: dict[str, int] = {}
    for index, scan in enumerate(data.scans):
        first = by_content.setdefault(scan.digest, index)
        if first != index:
            pairs.append(DuplicatePair(first=first, second=index, exact=True))
    indices = [index for index in by_content.values() if data.scans[index].perceptual_hash]
    near = sorted(_connect_near([data.scans[index] for index in indices]))
    return pairs + [
        DuplicatePair(first=indices[one], second=indices[other], exact=False)
        for _, one, other in near
    ]


# Idea: a hash of 64 bits can't tell apart images with the same outline. In 20,000 handwritten
# digits, 7,300 are connected by pairs with similar hashes. So the thumbnails of each such pair are
# compared too, in grey and with equal brightness and contrast. The thumbnails of a copy, even one
# in other colours, differ little at every pixel; those of another digit or curve differ at some.
class _Thumbnails:
    """The thumbnails of images, to decide whether two images show the same picture."""

    def __init__(self, scans: Sequence[Scan]) -> None:
        self._known = all(scan.thumbnail for scan in scans)
        if not self._known:
            return
        pixels = np.frombuffer(b"".join(scan.thumbnail for scan in scans), "uint8")
        self._pixels = pixels.reshape(len(scans), 32, 32)
        self._means = np.asarray([each.mean() for each in self._pixels])
        self._spreads = np.asarray([each.std() for each in self._pixels])
        blocks = self._pixels.reshape(len(scans), 8, 4, 8, 4).mean(axis=(2, 4), dtype="float32")
        self._blocks = self._standardize(blocks, slice(None))

    def _standardize(self, pixels: np.ndarray, index: np.ndarray | slice) -> np.ndarray:
        mean, spread = self._means[index], np.maximum(self._spreads[index], _FLAT)
        standard = (pixels - mean[:, None, None]) / spread[:, None, None]
        flat: np.ndarray = standard.reshape(len(pixels), pixels[:1].size or 1)
        return flat.astype("float32")

    def differences(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the largest difference of each pair; infinite if the pair is no near-duplicate."""
        found = np.zeros(len(one))
        if not self._known:
            return found
        # Means of 4 x 4 pixels differ by no more than the pixels do, and rule out most pairs.
        found = np.abs(self._blocks[one] - self._blocks[other]).max(axis=1)
        close = found <= _MAX_DIFFERENCE
        one, other = one[close], other[close]
        first, second = (self._standardize(self._pixels[each], each) for each in (one, other))
        found[close] = np.abs(first - second).max(axis=1)
        flat = np.minimum(self._spreads[one], self._spreads[other]) < _FLAT
        shifted = np.abs(self._means[one] - self._means[other]) > 2 * _FLAT
        found[np.flatnonzero(close)[flat & shifted]] = np.inf
        return np.where(found <= _MAX_DIFFERENCE, found, np.inf)


# Comparing every hash with every other takes too long for many images. But if two hashes of 64
# bits are cut into five bands and differ in at most four bits, then at least one band has no
# differing bit (the pigeonhole principle). So it is enough to compare the hashes that agree in a
# band: for each band, hashes are sorted by it, and only those with the same value are compared.
# Images with the same hash that look alike are connected first, and only the first of them is
# compared further. Pairs that are connected already are skipped: a video has millions of them.
def _connect_near(scans: Sequence[Scan]) -> Iterator[tuple[float, int, int]]:
    """Yield the difference and indices, the smaller first, of pairs that connect near images."""
    hashes = np.asarray([scan.perceptual_hash for scan in scans], dtype="uint64")
    thumbnails, components = _Thumbnails(scans), DisjointSet(range(len(scans)))
    roots = np.arange(len(scans))
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    leaders = first[inverse]
    same = np.flatnonzero(leaders != np.arange(len(scans)))
    edges = np.stack([leaders[same], same], axis=1)
    yield from _connect(edges, thumbnails, components, roots)
    alone = np.flatnonzero(roots == np.arange(len(scans)))
    for edges in _find_near(hashes[alone]):
        yield from _connect(alone[edges], thumbnails, components, roots)


def _connect(
    edges: np.ndarray, thumbnails: _Thumbnails, components: DisjointSet, roots: np.ndarray
) -> Iterator[tuple[float, int, int]]:
    """Connect the pairs that look the same and are not connected yet, and yield these pairs.

    `roots` holds the root of each image's component, so that many pairs are checked at a time.
    """
    for start in range(0, len(edges), _MAX_LOOKED_AT):
        one, other = edges[start : start + _MAX_LOOKED_AT].T
        apart = roots[one] != roots[other]
        one, other = one[apart], other[apart]
        differences = thumbnails.differences(one, other)
        for row in np.argsort(differences, kind="stable"):
            if differences[row] < np.inf and components.merge(int(one[row]), int(other[row])):
                yield float(differences[row]), int(one[row]), int(other[row])
        if len(one):
            roots[:] = [components[index] for index in range(len(roots))]


def _find_near(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs of indices, the smaller first, of hashes that differ in few bits."""
    earlier: list[np.uint64] = []
    width = -(-64 // _BANDS)
    for band in range(_BANDS):
        mask = np.uint64(((1 << width) - 1) << (width * band) & (2**64 - 1))
        order = np.argsort(hashes & mask, kind="stable")
        borders = np.flatnonzero(np.diff(hashes[order] & mask)) + 1
        for same in np.split(order, borders):
            yield from _compare(hashes, same, earlier)
        earlier.append(mask)


def _compare(
    hashes: np.ndarray, indices: np.ndarray, earlier: Sequence[np.uint64]
) -> Iterator[np.ndarray]:
    """Yield pairs of these indices whose hashes differ in few bits; the indices are sorted.

    Pairs that agree in an earlier band are skipped, since they were compared there.
    """
    rows = max(_MAX_COMPARED // len(indices), 1)
    for start in range(0, len(indices) if len(indices) > 1 else 0, rows):
        block = indices[start : start + rows]
        differing = hashes[block][:, None] ^ hashes[indices][None]
        near = (np.bitwise_count(differing) <= _MAX_BITS) & (block[:, None] < indices[None])
        for mask in earlier:
            near &= differing & mask != 0
        one, other = np.nonzero(near)
        if len(one):
            yield np.stack([block[one], indices[other]], axis=1)
