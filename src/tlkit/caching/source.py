"""Read the images whose features are needed, and their labels, as far as necessary."""

from collections.abc import Iterator

import numpy as np

from tlkit.caching.trunk_runner import BATCH
from tlkit.data import batches, chunks
from tlkit.data.digests import digest_pixels


class Source:
    """Images that are read when they are needed, and their labels.

    Args:
        data: Arrays, or a dataset of batches.
        rank: The number of axes of the model's input.

    Attributes:
        first: The first image, as a batch of one.
        max_images: An upper bound of the number of images; None if it is unknown.
        sizes: The sizes of a dataset's batches, after it has been read.
    """

    def __init__(self, data: batches.Inputs, *, rank: int) -> None:
        self._data, self._rank = data, rank
        self.first = self.read_sample(1)
        self.max_images = chunks.max_images(data)
        self.sizes: list[int] = []
        self._labels: list[np.ndarray] = []
        self._weights: list[np.ndarray] = []

    def read_sample(self, count: int = BATCH) -> np.ndarray:
        """Return the first images, at most `count`."""
        rows = count if batches.is_arrays(self._data) else 1  # of a dataset, one batch
        first = next(chunks.read_chunks(self._data, rows=rows, rank=self._rank))
        return first.images[:count]

    @property
    def image_bytes(self) -> int:
        """The bytes of one image."""
        return int(self.first.nbytes)

    @property
    def labels(self) -> np.ndarray:
        """The label of each image; for a dataset, after it has been read."""
        if batches.is_arrays(self._data):
            return np.asarray(self._data[1])
        return np.concatenate(self._labels)

    @property
    def weights(self) -> np.ndarray | None:
        """The weight of each image; None if the data has no weights."""
        return np.concatenate(self._weights) if self._weights else None

    def find_digests(self) -> np.ndarray | None:
        """Return a digest of each image; None if all images must be read for that."""
        if not batches.is_arrays(self._data):
            return None
        images = self._data[0]
        return digest_pixels(images) if isinstance(images, np.ndarray) else images.digests

    def read(self, rows: int) -> Iterator[chunks.Chunk]:
        """Yield all images, about `rows` at a time, and store the labels of a dataset."""
        self._labels, self._weights, self.sizes = [], [], []
        every = chunks.read_chunks(self._data, rows=rows, rank=self._rank)
        for chunk in chunks.read_ahead(every):
            self._labels.append(chunk.labels)
            self._weights += [] if chunk.weights is None else [chunk.weights]
            self.sizes += chunk.sizes
            yield chunk

    def read_rows(self, indices: np.ndarray, rows: int) -> Iterator[np.ndarray]:
        """Yield the images with these indices, `rows` at a time."""
        some = chunks.read_rows(self._data[0], indices, rows=rows, rank=self._rank)  # type: ignore[index]
        yield from chunks.read_ahead(some)
