"""Choose the images that a solver fits, and the held-out images on which it chooses a penalty."""

import numpy as np

from tlkit.errors import ConfigError

Samples = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Features and labels of images, and their weights; None if there are no weights."""

_MIN_HOLDOUT = 2000  # images; a tenth of fewer images is too small to choose a penalty on
_FOLDS = 5
_MAX_CHOICE = 10_000  # images to choose the penalty on; more take seconds and have no effect


def _split(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the images to fit and to hold out: a tenth, or for a small set each of five folds."""
    order = np.random.default_rng(seed).permutation(count)
    if count == 1:
        return [(order, order)]
    if count >= _MIN_HOLDOUT:
        return [(order[count // 10 :], order[: count // 10])]
    folds = np.array_split(order, min(_FOLDS, count))
    return [(np.setdiff1d(order, fold, assume_unique=True), fold) for fold in folds]


def choose_rows(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of rows to choose the penalty on: the rows to fit, and the held-out rows."""
    pairs = _split(count, seed)
    return [(fitted[:_MAX_CHOICE], part[:_MAX_CHOICE]) for fitted, part in pairs]


def normalize(weights: np.ndarray | None) -> np.ndarray | None:
    """Return weights with a mean of 1, so that weights do not change the effect of a penalty."""
    if weights is None:
        return None
    if not weights.any():
        raise ConfigError(
            "`class_weight` must be above 0 for some class that has training images, got 0 for all."
        )
    return np.asarray(weights / weights.mean(), "float32")


def take(weights: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Return the weights of some images; None if there are no weights."""
    return None if weights is None else weights[rows]
