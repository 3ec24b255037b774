"""Stack the features of many images into one array, in memory or on disk, and standardise them."""

from collections.abc import Iterable

import numpy as np

from tlkit._internal import disk_arrays
from tlkit.training.linear import Features, blocks, shrink_deviations


def stack_batches(
    batches: Iterable[np.ndarray], count: int, *, max_bytes: int | None = None
) -> np.ndarray:
    """Return batches of features as one float32 array `(count, size)`.

    Args:
        batches: Features of some images each; a batch is copied and released.
        count: The number of images in all batches.
        max_bytes: The largest size of the array in memory; a larger array is in a temporary file,
            and None sets no limit.

    Raises:
        StoreError: The array does not fit on the disk.
    """
    features, used = np.empty((count, 0), "float32"), 0
    for batch in batches:
        rows = batch.reshape(len(batch), -1)
        if not used:
            features = disk_arrays.create((count, rows.shape[1]), max_bytes=max_bytes)
        features[used : used + len(rows)] = rows
        used += len(rows)
    return features


class _Standardized:
    """Features that are standardised when they are read; features on disk are not copied."""

    def __init__(self, features: Features, shift: np.ndarray, scale: np.ndarray) -> None:
        self._features, self._shift, self._scale = features, shift, scale
        self.shape = features.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.asarray((self._features[rows] - self._shift) / self._scale)


def standardize(features: Features, *, in_memory: bool) -> tuple[Features, np.ndarray, np.ndarray]:
    """Return the features with mean 0 and standard deviation 1, and their means and deviations.

    The deviations are shrunk: see `linear.shrink_deviations`.

    Args:
        features: `(count, size)`.
        in_memory: Whether to return an array; otherwise rows are standardised when they are read.
    """
    parts = blocks(len(features))
    mean = sum(features[block].sum(axis=0, dtype="float64") for block in parts) / len(features)
    squares = np.zeros(features.shape[1])
    for block in parts:
        squares += ((features[block] - mean) ** 2).sum(axis=0)
    shift = mean.astype("float32")
    deviations = np.sqrt(squares / len(features))
    scale = shrink_deviations(deviations, len(features)).astype("float32")
    if not in_memory:
        return _Standardized(features, shift, scale), shift, scale
    standard = features - shift
    standard /= scale
    return standard, shift, scale
