"""The class names that a dataset of batches has of its own, and their order in a classifier."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit._internal.text import show
from tlkit.data import naming
from tlkit.errors import DataError

_MAX_STEPS = 50  # of a chain of datasets, each made from the one before


def find_class_names(data: Any) -> tuple[str, ...]:
    """Return the class names that a dataset of batches carries; empty if it has none.

    Keras' directories have `class_names` (or `class_indices`), torchvision's folders `classes`,
    Hugging Face's datasets a `ClassLabel`. A `tf.data.Dataset` that was shuffled or prefetched, a
    loader and a subset lose them: so the datasets that they were made from are asked too.

    Args:
        data: The dataset.
    """
    for _ in range(_MAX_STEPS):
        names = _own_class_names(data)
        if names or data is None:
            return names
        data = getattr(data, "_input_dataset", None) or getattr(data, "dataset", None)
    return ()


def _own_class_names(data: Any) -> tuple[str, ...]:
    indices = getattr(data, "class_indices", None)
    if isinstance(indices, dict):
        return tuple(sorted(indices, key=lambda name: indices[name]))
    features = getattr(data, "features", None)
    if isinstance(features, dict):
        labels = [each.names for each in features.values() if hasattr(each, "names")]
        return tuple(labels[0]) if len(labels) == 1 else ()
    names = getattr(data, "class_names", None) or getattr(data, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return ()


def order_class_names(given: Sequence[str], wanted: Sequence[str], name: str) -> np.ndarray | None:
    """Return the index of each given class among the wanted ones; None if all are the same.

    A classifier without class names of its own has "0", "1" and so on: classes with other names
    can't be compared with it, so only their number must fit.

    Args:
        given: The class names of the data.
        wanted: The class names of a classifier; it may have classes that the data has not.
        name: The caller's name of the data, for error messages.

    Raises:
        DataError: The classifier lacks a class.
    """
    given, wanted = ([*map(naming.normalize, names)] for names in (given, wanted))
    if given == wanted:
        return None
    if is_unnamed(wanted) and not set(given) & set(wanted):
        if len(given) != len(wanted):
            raise DataError(
                f"`{name}` must have {len(wanted)} classes, as the classifier has, got "
                f"{len(given)}: {show(given)}."
            )
        return None
    unknown = sorted(set(given) - set(wanted))
    if unknown:
        raise DataError(
            f"`{name}` must have classes that the classifier knows, {show(wanted)}, "
            f"got {show(unknown)}."
        )
    return np.asarray([wanted.index(each) for each in given])


def is_unnamed(class_names: Sequence[str]) -> bool:
    """Return whether these are the names that a classifier gets without any: "0", "1" and so on."""
    return tuple(class_names) == tuple(map(str, range(len(class_names))))
