"""Divide images into folds for cross-validation, stratified and with duplicates together."""

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import join_first
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.split_positions import hash_to_unit
from tlkit.data.splits import find_groups
from tlkit.errors import Argument, ConfigError, DataError


# Folds should have equal sizes and class proportions, and no group may be divided, since copies of
# training images would be tested. Idea: groups are dealt out like cards, class after class, large
# groups first, otherwise in the order of their hashes. Each goes to the fold with the fewest
# images of its class, and among several such folds to the one with the fewest images. A group
# counts as its most frequent class. Without groups, folds differ by at most one image per class.
@check_arguments
def assign_folds(data: ImageDataset, *, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Return the fold of each image, `(count,)` from 0, with equal class proportions in every fold.

    Duplicates, near-duplicates and the images of a group are in the same fold.

    Args:
        data: The images.
        folds: The number of folds, at least 2.
        seed: The seed of the assignment.

    Raises:
        ConfigError: `folds` is below 2, or above the number of images or groups, or images can
            have several classes.
        DataError: All images of a class are in one group, so that a fold would hold all of them.

    Examples:
        >>> from tlkit import sources
        >>> images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), "uint8")
        >>> data = sources.from_arrays(images, [0, 0, 0, 1, 1, 1], class_names="ab")
        >>> np.bincount(assign_folds(data, folds=3)).tolist()
        [2, 2, 2]
    """
    arguments.at_least("folds", folds, 2)
    if data.is_multi_label:
        raise ConfigError(
            Argument("folds"),
            " must be left out where images can have several classes, which folds can't have in "
            "equal proportions.",
        )
    names, group, sizes = np.unique(find_groups(data), return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise ConfigError(
            f"`folds` must be at most {len(names)}, the number of images and groups of duplicates, "
            f"got {folds}."
        )
    classes = _most_frequent(group, data.labels)
    _check_several(data, group)
    order = np.lexsort((hash_to_unit(names.tolist(), seed), -sizes, classes))
    own = np.zeros((len(data.class_names), folds), "int64")  # images of each class in each fold
    totals = np.zeros(folds, "int64")
    fold_of = np.empty(len(names), "int64")
    for each in order:
        fold = np.lexsort((totals, own[classes[each]]))[0]
        fold_of[each] = fold
        own[classes[each], fold] += sizes[each]
        totals[fold] += sizes[each]
    return np.asarray(fold_of[group])


def _most_frequent(group: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the most frequent label of each group."""
    pairs, counts = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    found = np.empty(group.max() + 1, "int64")
    order = np.argsort(counts, kind="stable")  # the most frequent label is assigned last
    found[pairs[0, order]] = pairs[1, order]
    return found


def _check_several(data: ImageDataset, group: np.ndarray) -> None:
    """Raise an error if a class is in one group only: no other image could be trained on."""
    pairs = np.unique(np.stack([group, data.labels]), axis=1)
    counts = np.bincount(pairs[1], minlength=len(data.class_names))
    few = [name for name, count in zip(data.class_names, counts, strict=True) if count == 1]
    if few:
        raise DataError(
            "Each class must have at least 2 images that are not duplicates and not of one group: "
            f"one to learn from, one to test on. Got only one of {join_first([*map(repr, few)])}. "
            "Add images, or leave these classes out."
        )
