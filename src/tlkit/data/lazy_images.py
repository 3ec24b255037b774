"""Images that are read when they are indexed, a few at a time, like an array."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tlkit._internal import arguments, arrays
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import byte_size
from tlkit.data.threads import map_in_groups
from tlkit.errors import DataError

ReadImage = Callable[[int], np.ndarray]
Digest = Callable[[np.ndarray], np.ndarray | None]
ReaderOfSize = Callable[[tuple[int, int]], tuple[ReadImage, Digest]]


@check_arguments
class LazyImages:
    """A sequence of images that are read when they are indexed.

    `images[3]` is one image; `images[10:20]` and `images[indices]` are arrays of several, which are
    read by threads.

    Args:
        read: Returns the image of a number, an array of this shape and dtype.
        numbers: The number of each image, which is passed to `read`.
        shape: The shape of every image.
        dtype: The dtype of every image.
        digests: A digest of each image's content and of how it is decoded, `(count, 2)`; equal
            digests mean equal pixels. None if digests are unknown before images are read.
        at_size: For a height and width, returns a function that reads images at that size and a
            function that returns the digests of their numbers; None if images can't be resized.

    Examples:
        >>> grey = LazyImages(lambda number: np.full((2, 2), number), range(9), shape=(2, 2))
        >>> grey[3:5].shape, int(grey[7][0, 0])
        ((2, 2, 2), 7)
    """

    def __init__(
        self,
        read: ReadImage,
        numbers: Any,
        *,
        shape: tuple[int, ...],
        dtype: str = "uint8",
        digests: np.ndarray | None = None,
        at_size: ReaderOfSize | None = None,
    ) -> None:
        self._read, self._at_size = read, at_size
        self.digests = digests
        self._numbers = np.asarray(numbers, dtype="int64")
        self.shape = (len(self._numbers), *shape)
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """The number of axes of a batch, batch axis included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values in all images."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> np.ndarray:
        numbers = self._numbers[index]
        if numbers.ndim == 0:
            return self._read_one(int(numbers))
        images = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for row, image in enumerate(map_in_groups(self._read_one, numbers.tolist())):
            images[row] = image
        return images

    @check_arguments
    def take(self, index: Any) -> "LazyImages":
        """Return the images at these indices without reading them.

        Args:
            index: A slice, a mask or indices.
        """
        return self._replace(self._read, arrays.take("index", index, len(self)), self._at_size)

    @check_arguments
    def resize(self, size: tuple[int, int]) -> "LazyImages":
        """Return the same images read at another height and width; unchanged if that is impossible.

        Args:
            size: Height and width in pixels.
        """
        size = arguments.size("size", size)
        if self._at_size is None or size == self.shape[1:3]:
            return self
        read, digest = self._at_size(size)
        return LazyImages(
            read,
            self._numbers,
            shape=(*size, *self.shape[3:]),
            dtype=str(self.dtype),
            digests=digest(self._numbers),
            at_size=self._at_size,
        )

    @check_arguments
    def checked_by(self, check: Callable[[np.ndarray], None]) -> "LazyImages":
        """Return the same images, each of which is checked when it is read.

        Args:
            check: Gets one image as a batch, `(1, ...)`; raises an error if it does not fit.
        """

        def read(number: int) -> np.ndarray:
            image = self._read(number)
            check(image[None])
            return image

        return self._replace(read, slice(None), at_size=None)

    def _replace(self, read: ReadImage, index: Any, at_size: ReaderOfSize | None) -> "LazyImages":
        return LazyImages(
            read,
            self._numbers[index],
            shape=self.shape[1:],
            dtype=str(self.dtype),
            digests=None if self.digests is None else self.digests[index],
            at_size=at_size,
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            f"These {len(self):,} images are read when they are indexed, and would take "
            f"{byte_size(self.size * self.dtype.itemsize)} as one array. Index some: images[:100]."
        )

    def _read_one(self, number: int) -> np.ndarray:
        image = self._read(number)
        if image.shape != self.shape[1:]:
            raise DataError(
                f"Image {number} must have the shape {self.shape[1:]} of the others, got "
                f"{image.shape}."
            )
        return image


def concatenate(parts: Sequence[LazyImages]) -> LazyImages:
    """Return the images of several sequences, all of one shape and dtype, as one.

    Examples:
        >>> grey = LazyImages(lambda number: np.full((2, 2), number), range(9), shape=(2, 2))
        >>> both = concatenate([grey.take([8]), grey])
        >>> len(both), int(both[0][0, 0]), int(both[1][0, 0])
        (10, 8, 0)
    """
    starts = np.cumsum([0, *map(len, parts)])
    can_resize = all(part._at_size for part in parts)

    def at_size(size: tuple[int, int]) -> tuple[ReadImage, Digest]:
        other = concatenate([part.resize(size) for part in parts])
        return other._read, lambda numbers: other.take(numbers).digests

    def read(number: int) -> np.ndarray:
        part = int(np.searchsorted(starts, number, side="right")) - 1
        return parts[part][number - int(starts[part])]

    digests = [part.digests for part in parts]
    known = [each for each in digests if each is not None]
    return LazyImages(
        read,
        range(int(starts[-1])),
        shape=parts[0].shape[1:],
        dtype=str(parts[0].dtype),
        digests=np.concatenate(known) if len(known) == len(parts) else None,
        at_size=at_size if can_resize else None,
    )
