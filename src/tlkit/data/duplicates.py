"""Which images of a source are the same, or look it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tlkit.data.image_dataset import ImageDataset

_BANDS = 5  # of 64 bits: where at most 4 differ, one band has none that does
_ALIKE = 4


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images that are the same, or look it.

    Attributes:
        first: The place of one in the source.
        second: The place of the other, behind it.
        exact: Whether their content is the same, bit for bit.
    """

    first: int
    second: int
    exact: bool


def look_alikes(source: ImageDataset) -> Iterator[Pair]:
    """Yield the pairs of images that are the same, or whose perceptual hashes differ by 4 bits.

    Of more than two images that are alike, each is paired with one before it: not all pairs are
    told, of which a video has millions, but enough that all its images hang together.
    """
    digests = [scanned.digest for scanned in source.scanned]
    first: dict[str, int] = {}
    for place, digest in enumerate(digests):
        if digest in first:
            yield Pair(first=first[digest], second=place, exact=True)
        else:
            first[digest] = place
    alike: dict[int, int] = {}
    for place in first.values():
        mark = source.scanned[place].likeness
        if mark in alike:
            yield Pair(first=alike[mark], second=place, exact=False)
        elif mark:
            alike[mark] = place
    places = list(alike.values())
    for one, other in _near(np.asarray(list(alike), dtype="uint64")):
        yield Pair(first=places[one], second=places[other], exact=False)


def _near(marks: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of marks that differ in few bits, enough to link all that are linked at all.

    Those share a band that does not differ, so only marks of one band are held together.
    """
    linked = np.arange(len(marks))
    width = -(-64 // _BANDS)
    for band in range(_BANDS):
        keys = (marks >> np.uint64(width * band)) & np.uint64((1 << width) - 1)
        order = np.argsort(keys, kind="stable")
        borders = np.flatnonzero(np.diff(keys[order])) + 1
        for shelf in np.split(order, borders):
            for at in range(1, len(shelf)):
                place, before = shelf[at], shelf[:at]
                near = before[np.bitwise_count(marks[before] ^ marks[place]) <= _ALIKE]
                for other in near[np.unique(linked[near], return_index=True)[1]]:
                    if linked[other] != linked[place]:
                        linked[linked == linked[place]] = linked[other]
                        yield int(other), int(place)
