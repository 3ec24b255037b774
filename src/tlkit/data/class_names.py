"""Find a dataset's own class names, and their order in a classifier."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit._internal.text import show
from tlkit.data import naming
from tlkit.errors import DataError

_MAX_STEPS = 50  # of a chain of datasets, each derived from the previous one


def find_class_names(data: Any) -> tuple[str, ...]:
    """Return the class names of a dataset of batches; empty if it has none.

    Keras' directories have `class_names` (or `class_indices`), torchvision's folders `classes`, and
    Hugging Face's datasets a `ClassLabel`. A shuffled or prefetched `tf.data.Dataset`, a loader and
    a subset lose these attributes, so the datasets from which they derive are searched too.

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

    A classifier that was built without class names has "0", "1" and so on. Other names can't be
    compared with these, so only the number of classes must agree.

    Args:
        given: The class names of the data.
        wanted: The class names of a classifier, which may have more classes than the data.
        name: The caller's name of the data, for error messages.

    Raises:
        DataError: The classifier lacks a class of the data.
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
    """Return whether the names are the default ones of a classifier: "0", "1" and so on."""
    return tuple(class_names) == tuple(map(str, range(len(class_names))))
