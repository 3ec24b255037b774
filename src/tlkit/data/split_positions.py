"""Give each image a position between 0 and 1, which decides its part of a split."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np


def hash_to_unit(keys: Sequence[str], seed: int) -> np.ndarray:
    """Return a pseudo-random number from 0 to below 1 for each key, the same on every machine."""
    texts = (f"{seed}:{key}".encode(errors="surrogatepass") for key in keys)
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.asarray([int.from_bytes(digest, "big") / 2**64 for digest in digests])


# Idea: hashes are only evenly spread on average: of 10 images of a class, 0 to 5 may lie below 0.2.
# So the images of each class are sorted by their hashes and get new positions at equal distances:
# with n images, the centres of n equal intervals from 0 to 1. Then the share below 0.2 is exact to
# one image. A group, whose images have the same hash, takes as many intervals as it has images, and
# its position is their common centre.
def spread_evenly(positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return positions in the same order within each class, spread evenly from 0 to 1.

    Images with the same position are a group: they keep one position, and count as their most
    frequent class.

    Args:
        positions: The hash of each image, from 0 to 1.
        labels: The class index of each image.
    """
    _, group, sizes = np.unique(positions, return_inverse=True, return_counts=True)
    group_class = _find_most_frequent(group, labels)
    order = np.argsort(group_class, kind="stable")  # by class, and then by position
    ends = np.cumsum(sizes[order])
    class_sizes = np.bincount(group_class, sizes)
    starts = (np.cumsum(class_sizes) - class_sizes)[group_class[order]]
    spread = np.empty(len(sizes))
    spread[order] = (ends - sizes[order] / 2 - starts) / class_sizes[group_class[order]]
    return np.asarray(spread[group])


def _find_most_frequent(group: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the most frequent class of each group; of several, the lowest index."""
    num_classes = labels.max() + 1
    pairs, counts = np.unique(group * num_classes + labels, return_counts=True)
    order = np.lexsort((-counts, pairs // num_classes))  # a stable sort
    groups = pairs[order] // num_classes
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.asarray(pairs[order][first] % num_classes)


def assign_parts(positions: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
    """Return the name of the part of each image, from its position between 0 and 1."""
    in_test = positions < shares["test"]
    in_validation = positions < shares["test"] + shares["validation"]
    return np.where(in_test, "test", np.where(in_validation, "validation", "train"))
