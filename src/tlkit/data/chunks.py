"""Yield any data in chunks of consecutive images of one shape, reading ahead in a thread."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tlkit.data import batches

_READ_AHEAD = 2


_Piece = TypeVar("_Piece", "Chunk", np.ndarray)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Consecutive images of one shape, with their labels and weights.

    Attributes:
        images: The images, with the axes of the model's input.
        labels: Their labels, in the form of the data.
        weights: Their weights; None if the data has no weights.
        sizes: How many images each batch of the dataset had.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    sizes: tuple[int, ...]


def read_chunks(data: batches.Inputs, *, rows: int, rank: int) -> Iterator[Chunk]:
    """Yield all images in order, about `rows` at a time; a dataset's batches are not divided.

    Args:
        data: Arrays, or a dataset of batches.
        rows: The least number of images in a chunk, except the last chunk and the last of a shape.
        rank: The number of axes of the model's input, batch axis included; a single channel axis is
            added or removed.
    """
    waiting: list[tuple[Any, ...]] = []
    for images, labels, weights in batches.weighted_batches(data, rows):
        batch = (fit_channels(images, rank), labels, weights)
        if waiting and waiting[0][0].shape[1:] != batch[0].shape[1:]:
            yield _join(waiting)
            waiting = []
        waiting.append(batch)
        if sum(len(each[0]) for each in waiting) >= rows:
            yield _join(waiting)
            waiting = []
    if waiting:
        yield _join(waiting)


def read_rows(images: Any, indices: np.ndarray, *, rows: int, rank: int) -> Iterator[np.ndarray]:
    """Yield the images with these indices in order, `rows` at a time.

    Args:
        images: An array, or images that are read when they are indexed.
        indices: The indices of the images.
        rows: How many images are read at a time.
        rank: As for `read_chunks`.
    """
    for start in range(0, len(indices), rows):
        yield fit_channels(images[indices[start : start + rows]], rank)


def max_images(data: batches.Inputs) -> int | None:
    """Return an upper bound of the number of images; None for a dataset without a length."""
    if batches.is_arrays(data):
        return len(data[0])
    try:
        count = len(data)  # type: ignore[arg-type]  # many datasets have a length
    except TypeError:
        return None
    first = next(batches.batches(data, 1), None)
    return 0 if first is None else count * len(first[0])


def read_ahead(chunks: Iterator[_Piece]) -> Iterator[_Piece]:
    """Yield the same pieces; a thread reads the next ones while a piece is used."""
    made: queue.Queue[Any] = queue.Queue(maxsize=_READ_AHEAD)
    stop = threading.Event()

    def work() -> None:
        last: BaseException | None = None
        try:
            for chunk in chunks:
                if not _put(made, chunk, stop):
                    return
        except BaseException as error:  # the consumer raises it
            last = error
        _put(made, last, stop)

    thread = threading.Thread(target=work, daemon=True, name="tlkit-read-ahead")
    thread.start()
    try:
        while isinstance(item := made.get(), Chunk | np.ndarray):
            yield item  # type: ignore[misc]  # what `chunks` yielded
        if item is not None:
            raise item
    finally:
        stop.set()
        thread.join()


def _put(made: "queue.Queue[Any]", item: Any, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            made.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _join(parts: list[tuple[Any, ...]]) -> Chunk:
    images, labels, weights = zip(*parts, strict=True)
    return Chunk(
        images=_one(images),
        labels=_one(labels),
        weights=None if weights[0] is None else _one(weights),
        sizes=tuple(len(part) for part in images),
    )


def _one(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def fit_channels(images: np.ndarray, rank: int) -> np.ndarray:
    """Return images with the axes of a model's input; a single channel axis is added or removed."""
    if images.ndim == rank - 1:
        return images[..., None]
    return images[..., 0] if images.ndim == rank + 1 else images
