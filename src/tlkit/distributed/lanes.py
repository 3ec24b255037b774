"""Divide images among workers so that the batches do not depend on how many workers there are."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np


# A batch has a fixed number of places. Each place has its own lane: consecutive images of the list
# of all images, of which a batch takes one. Lanes differ by at most one image. A worker has
# consecutive lanes, and so reads only its share of the files. The order within a lane depends on
# the seed, the epoch and the lane, and on nothing else. So batches are the same with any number of
# workers, and all workers make the same number of steps. In the last step, some lanes may have no
# image left; the first one of the epoch is repeated there, and does not count.
@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The lanes of one worker.

    Attributes:
        count: The number of all images.
        batch_size: The number of images in a step of all workers.
        workers: The number of workers; it divides `batch_size`.
        rank: The number of this worker, from 0.

    Examples:
        >>> lanes = Lanes(count=10, batch_size=4, workers=2, rank=1)
        >>> lanes.steps, lanes.rows
        (3, (5, 10))
        >>> rows, mask = lanes.take(None)
        >>> rows.tolist(), mask.tolist()
        ([[0, 2], [1, 3], [0, 4]], [[True, True], [True, True], [False, True]])
    """

    count: int
    batch_size: int
    workers: int
    rank: int

    @property
    def steps(self) -> int:
        """The number of steps of an epoch, the same for all workers."""
        return -(-self.count // self.batch_size)

    @cached_property
    def _starts(self) -> list[int]:
        """The first image of each of this worker's lanes, and the end of the last one."""
        share = self.batch_size // self.workers
        lanes = range(self.rank * share, (self.rank + 1) * share + 1)
        return [lane * self.count // self.batch_size for lane in lanes]

    @property
    def rows(self) -> tuple[int, int]:
        """The first image of this worker, and the one after its last."""
        return self._starts[0], self._starts[-1]

    def take(self, seed: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
        """Return this worker's images of each step, and which of them count, `(steps, lanes)`.

        Images are numbered from the first one of this worker.

        Args:
            seed: The seed and the number of the epoch; None keeps the order.
        """
        starts = self._starts
        rows = np.zeros((self.steps, len(starts) - 1), "int64")
        mask = np.zeros(rows.shape, bool)
        for number, (start, stop) in enumerate(itertools.pairwise(starts)):
            order = np.arange(start, stop) - starts[0]
            if seed is not None:
                lane = self.rank * rows.shape[1] + number
                np.random.default_rng([*seed, lane]).shuffle(order)
            rows[: len(order), number] = order
            rows[len(order) :, number] = order[:1] if len(order) else 0
            mask[: len(order), number] = True
        return rows, mask
