"""Predict images that wait at the same time as one batch."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np


@dataclass(eq=False)
class _Waiting:
    """An image that waits, and the future for its result."""

    pixels: np.ndarray
    result: asyncio.Future[np.ndarray]


class Batcher:
    """Predicts images of several requests together, in the order of their arrival.

    The network runs in one thread, and may use all cores. Images that arrive while it runs are its
    next batch, so no image waits for others to fill a batch.

    Args:
        run: Returns a row for each image of a batch.
        batch_size: The maximum number of images in a batch.

    Attributes:
        num_images: How many images were predicted.
        num_batches: How many batches were predicted.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], *, batch_size: int) -> None:
        self._run, self._batch_size = run, batch_size
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tlkit-batch")
        self._worker: asyncio.Task[None] | None = None
        self.num_images = self.num_batches = 0

    @property
    def num_waiting(self) -> int:
        """How many images wait."""
        return len(self._waiting)

    async def run(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the rows of images; if the caller is cancelled, waiting images are skipped.

        Args:
            images: The pixels of each image.
        """
        loop = asyncio.get_running_loop()
        entries = [_Waiting(pixels, loop.create_future()) for pixels in images]
        self._waiting.extend(entries)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return np.stack(await asyncio.gather(*(entry.result for entry in entries)))

    async def _work(self) -> None:
        """Predict waiting images until there are no more."""
        loop = asyncio.get_running_loop()
        while batch := self._take():
            images = [entry.pixels for entry in batch]
            try:
                rows = await loop.run_in_executor(self._thread, self._run_batch, images)
            except Exception as error:  # each runtime has its own classes
                for entry in batch:
                    if not entry.result.done():
                        entry.result.set_exception(error)
                continue
            self.num_images += len(batch)
            self.num_batches += 1
            for entry, row in zip(batch, rows, strict=True):
                if not entry.result.done():
                    entry.result.set_result(row)

    def _run_batch(self, images: list[np.ndarray]) -> np.ndarray:
        return self._run(np.stack(images))

    def _take(self) -> list[_Waiting]:
        """Return the next images of one shape, and drop images whose request was cancelled."""
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
        while self._waiting and len(batch) < self._batch_size:
            entry = self._waiting.popleft()
            if entry.result.done():
                continue
            alike = not batch or entry.pixels.shape == batch[0].pixels.shape
            (batch if alike else others).append(entry)
        self._waiting.extendleft(reversed(others))
        return batch

    def close(self) -> None:
        """End the thread when its last batch is finished."""
        self._thread.shutdown()
