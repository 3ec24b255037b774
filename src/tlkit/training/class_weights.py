"""Weights of the classes in a loss, so that rare classes can count as much as frequent ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import keras
import numpy as np

from tlkit._internal.text import show
from tlkit.data import batches
from tlkit.data.batches import Inputs
from tlkit.errors import ConfigError
from tlkit.models.inspection import is_multi_label

ClassWeight = Literal["balanced"] | Mapping[int, float] | Sequence[float]
"""A weight for each class in order, or by class index, where missing classes have weight 1; or
"balanced", which computes the weights from the training labels."""

_Phase = TypeVar("_Phase", bound=Any)


def balance(counts: Sequence[int] | np.ndarray) -> tuple[float, ...]:
    """Return weights that give every class the same total: `n / (k * n_c)`, as in scikit-learn.

    `n` is the number of images, `k` the number of classes that have images, and `n_c` the number of
    images of a class. The weights of all images add up to `n`. A class without images has weight 1.

    Args:
        counts: The number of images of each class.

    Examples:
        >>> balance([90, 10])
        (0.5555555555555556, 5.0)
    """
    numbers = np.asarray(counts, "float64")
    weights = numbers.sum() / ((numbers > 0).sum() * np.maximum(numbers, 1))
    return tuple(np.where(numbers > 0, weights, 1.0).tolist())


def count_classes(data: Inputs, num_classes: int) -> np.ndarray:
    """Return how many images each class has; a dataset of batches is read once.

    Args:
        data: Images and labels in one form.
        num_classes: The number of classes.
    """
    parts = [data[1]] if batches.is_arrays(data) else [each[1] for each in batches.batches(data, 1)]
    counts = [
        np.bincount(batches.label_indices(part).astype("int64"), minlength=num_classes)
        for part in parts
    ]
    return np.asarray(np.sum(counts, axis=0))


def refuse_multi_label(phase: Any, model: keras.Model) -> None:
    """Raise a ConfigError for class weights if an image can have several classes, or none."""
    if phase.class_weight is not None and is_multi_label(model):
        raise ConfigError(
            "`class_weight` must be None for a multi-label classifier, since an image can have "
            f"several classes or none, got {show(phase.class_weight)}. For rare classes, "
            "tlkit.calibrate chooses a threshold for each class."
        )


def set_balanced(phase: _Phase, data: Inputs, num_classes: int) -> _Phase:
    """Return a phase with numbers in place of the class weight "balanced".

    Args:
        phase: A Phase or a SolvedHead.
        data: Its training images and labels, in one form.
        num_classes: The number of classes.
    """
    if phase.class_weight != "balanced":
        return phase
    return replace(phase, class_weight=balance(count_classes(data, num_classes)))


def check(given: Any) -> ClassWeight | None:
    """Return class weights as "balanced", a tuple or a dict of numbers of at least 0, or None.

    Raises:
        ConfigError: They have another form, or a weight is negative or not finite.
    """
    if given is None:
        return None
    if isinstance(given, str) and given == "balanced":
        return "balanced"
    by_index = isinstance(given, Mapping)
    try:
        weights = np.asarray(list(given.values()) if by_index else given, "float64")
    except (TypeError, ValueError):
        weights = np.asarray(np.nan)
    if weights.ndim != 1 or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ConfigError(
            "`class_weight` must be 'balanced', or numbers of at least 0, one for each class or by "
            f"class index, got {show(given)}."
        )
    values = weights.tolist()
    return dict(zip(given, values, strict=True)) if by_index else tuple(values)


def expand(given: ClassWeight | None, num_classes: int) -> dict[int, float] | None:
    """Return the weight of each class by its index; None if there are no weights.

    Args:
        given: Class weights, except "balanced".
        num_classes: The number of classes.

    Raises:
        ConfigError: They don't fit the number of classes, or are "balanced".
    """
    if given is None:
        return None
    if given == "balanced":
        raise ConfigError("`class_weight` must be numbers here, got 'balanced'.")
    if not isinstance(given, Mapping):
        if len(given) != num_classes:
            raise ConfigError(
                f"`class_weight` must have a weight for each of the {num_classes} classes, "
                f"got {len(given)}."
            )
        return dict(enumerate(map(float, given)))
    unknown = [key for key in given if key not in range(num_classes)]
    if unknown:
        raise ConfigError(
            f"`class_weight` must have class indices from 0 to {num_classes - 1}, "
            f"got {show(unknown[0])}."
        )
    return {index: given.get(index, 1.0) for index in range(num_classes)}
