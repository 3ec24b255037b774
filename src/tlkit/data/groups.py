"""Groups of images that a split keeps together: the user's own, duplicates and near-duplicates."""

from collections.abc import Iterable

import numpy as np

from tlkit._internal.signatures import check_arguments
from tlkit.data.duplicates import DuplicatePair, find_duplicates
from tlkit.data.image_dataset import ImageDataset

_MIN_GROUP = 10  # images that a group of near-duplicates may always have
_MAX_SHARE = 0.1  # of the images of a class, which such a group may have at most


@check_arguments
def find_groups(data: ImageDataset) -> list[str]:
    """Return a name for each image, shared by its group, its duplicates and near-duplicates.

    Args:
        data: The images.

    Examples:
        >>> from tlkit import sources
        >>> images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), "uint8")
        >>> images[2] = images[0]
        >>> data = sources.from_arrays(images, [0, 1, 0], class_names="ab")
        >>> first, second, third = find_groups(data)
        >>> first == third, first == second
        (True, False)
    """
    return join_keys(data, find_duplicates(data))


def list_keys(data: ImageDataset) -> list[str]:
    """Return the group of each image, or a hash of its content if there are no groups."""
    return list(data.groups) or [scan.digest for scan in data.scans]


# Images that differ in small steps, such as plots or the frames of a video, form a chain through a
# whole class, which would then be in one part. So pairs are joined one by one, the most similar
# first, unless a group would exceed a tenth of its class. Identical images always stay together.
def join_keys(data: ImageDataset, pairs: Iterable[DuplicatePair]) -> list[str]:
    """Return a key for each image: the first, in order, of the keys that are joined by pairs."""
    keys = list_keys(data)
    names, first, nodes = np.unique(keys, return_index=True, return_inverse=True)
    classes = single_labels(data)[first]
    limits = np.maximum(np.bincount(classes) * _MAX_SHARE, _MIN_GROUP)[classes]
    parents, sizes = list(range(len(names))), [1] * len(names)

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = node = parents[parents[node]]
        return node

    for pair in pairs:
        one, other = sorted((root(nodes[pair.first]), root(nodes[pair.second])))
        size = sizes[one] + sizes[other]
        if one != other and (pair.exact or size <= min(limits[one], limits[other])):
            parents[other], sizes[one] = one, size
            limits[one] = min(limits[one], limits[other])
    return [str(names[root(node)]) for node in nodes]  # names are sorted


def single_labels(data: ImageDataset) -> np.ndarray:
    """Return class indices; zeros if images can have several classes."""
    return np.zeros(len(data), int) if data.is_multi_label else data.labels
