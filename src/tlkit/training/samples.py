"""The images that a solver fits, and those that it holds out to choose a penalty by."""

import numpy as np

from tlkit.errors import ConfigError

Samples = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Features and labels of images, and weights of them where there are any."""

_MIN_HOLDOUT = 2000  # images; a tenth of fewer is too small to choose a penalty on
_FOLDS = 5
_MAX_CHOICE = 10_000  # images to choose the penalty on; more take seconds and change nothing


def _split(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which images to fit and which to hold out: a tenth, or five folds of a small set."""
    order = np.random.default_rng(seed).permutation(count)
    if count == 1:
        return [(order, order)]
    if count >= _MIN_HOLDOUT:
        return [(order[count // 10 :], order[: count // 10])]
    folds = np.array_split(order, min(_FOLDS, count))
    return [(np.setdiff1d(order, fold, assume_unique=True), fold) for fold in folds]


def choose_rows(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to choose the penalty by: those to fit and those held out, of each part."""
    pairs = _split(count, seed)
    return [(fitted[:_MAX_CHOICE], part[:_MAX_CHOICE]) for fitted, part in pairs]


def normalize(weights: np.ndarray | None) -> np.ndarray | None:
    """Return weights with a mean of 1, so that a penalty means the same with and without them."""
    if weights is None:
        return None
    if not weights.any():
        raise ConfigError(
            "`class_weight` must be above 0 for some class that has training images, got 0 for all."
        )
    return np.asarray(weights / weights.mean(), "float32")


def take(weights: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Return the weights of some images, where there are weights."""
    return None if weights is None else weights[rows]
