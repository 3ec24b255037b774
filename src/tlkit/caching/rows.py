"""Rows of several arrays by index, from shards in memory or on disk."""

from collections.abc import Sequence

import numpy as np

from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError


class Rows:
    """Rows of several arrays that belong together, in memory or in shards on disk.

    Args:
        shards: Lists of one array per tensor, all with the same number of rows.
        order: The position of each row, counted through all shards; None keeps their order.

    Raises:
        DataError: There is no shard, or their shapes or dtypes differ.

    Examples:
        >>> Rows([[np.arange(3)], [np.arange(3, 5)]]).take(np.array([4, 0, 4]))
        [array([4, 0, 4])]
    """

    def __init__(
        self, shards: Sequence[Sequence[np.ndarray]], order: np.ndarray | None = None
    ) -> None:
        _check_shards(shards)
        self._order = order
        self.shapes = tuple(array.shape[1:] for array in shards[0])
        self.dtypes = tuple(array.dtype for array in shards[0])
        self.nbytes = sum(array.nbytes for shard in shards for array in shard)
        self.in_memory = not any(isinstance(each, np.memmap) for shard in shards for each in shard)
        self._shards = [[np.asarray(array) for array in shard] for shard in shards]
        self._starts = np.cumsum([0, *(len(shard[0]) for shard in shards)])

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._order is None else len(self._order)

    def __getitem__(self, rows: slice) -> list[np.ndarray]:
        return self.take(np.fromiter(range(*rows.indices(len(self))), np.intp))

    def take(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return the rows with these indices, in this order, as new arrays in memory.

        Raises:
            IndexError: An index is below 0, too large, or not a whole number.
        """
        wanted = self._check_indices(indices)
        wanted = wanted if self._order is None else self._order[wanted]
        if len(self._shards) == 1:
            return [array[wanted] for array in self._shards[0]]
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        borders = np.searchsorted(ascending, self._starts)
        shapes = [(len(wanted), *shape) for shape in self.shapes]
        taken = [np.empty(shape, dtype) for shape, dtype in zip(shapes, self.dtypes, strict=True)]
        for shard in np.flatnonzero(np.diff(borders)):
            here = slice(borders[shard], borders[shard + 1])
            for target, array in zip(taken, self._shards[shard], strict=True):
                target[order[here]] = array[ascending[here] - self._starts[shard]]
        return taken

    def arrays(self) -> list[np.ndarray]:
        """Return each tensor as one array in memory; a single array in memory is not copied."""
        if self._order is not None:
            return self.take(np.arange(len(self)))
        if len(self._shards) == 1 and self.in_memory:
            return list(self._shards[0])
        return [np.concatenate(parts) for parts in zip(*self._shards, strict=True)]

    def _check_indices(self, indices: np.ndarray) -> np.ndarray:
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise IndexError(
                f"`indices` must be whole numbers on one axis, got {indices.dtype} of shape "
                f"{indices.shape}."
            )
        outside = indices[(indices < 0) | (indices >= len(self))]
        if len(outside):
            raise IndexError(f"`indices` must be from 0 to {len(self) - 1}, got {outside[0]}.")
        return indices.astype(np.intp, copy=False)


class LazyRows:
    """Images that are read from their files when rows are taken.

    Args:
        images: The images.
    """

    def __init__(self, images: LazyImages) -> None:
        self._images = images

    def take(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return the images with these indices, in this order."""
        return [self._images[indices]]


def _check_shards(shards: Sequence[Sequence[np.ndarray]]) -> None:
    if not shards or not shards[0]:
        raise DataError("`shards` must hold at least one shard of one array, got none.")
    wanted = [(array.dtype, array.shape[1:]) for array in shards[0]]
    for place, shard in enumerate(shards):
        if [(array.dtype, array.shape[1:]) for array in shard] != wanted:
            raise DataError(f"`shards` must agree: {place} differs from 0 in dtypes or shapes.")
        rows = {array.shape[:1] for array in shard}
        if len(rows) != 1 or rows == {()}:
            raise DataError(f"`shards[{place}]` must have as many rows in each array.")
