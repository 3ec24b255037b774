"""Images that are read when they are asked for, a few at a time, and sliced like an array."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tlkit.errors import DataError

Read = Callable[[int], np.ndarray]


class LazyImages:
    """A row of images that exist only while they are looked at.

    `images[3]` is one image, `images[10:20]` and `images[indices]` are arrays of some. Threads read
    them: decoding a file leaves Python free.

    Args:
        read: Returns the image of a place.
        places: The places, in order.
        shape: The shape of every image.
        dtype: Their dtype.

    Examples:
        >>> grey = LazyImages(lambda place: np.full((2, 2), place), range(9), shape=(2, 2))
        >>> grey[3:5].shape, int(grey[7][0, 0])
        ((2, 2, 2), 7)
    """

    def __init__(
        self, read: Read, places: Any, *, shape: tuple[int, ...], dtype: str = "uint8"
    ) -> None:
        self._read = read
        self._places = np.asarray(places, dtype="int64")
        self.shape = (len(self._places), *shape)
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """How many axes a batch has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many pixels there are, of all images and channels."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> np.ndarray:
        wanted = self._places[index]
        if wanted.ndim == 0:
            return self._image(int(wanted))
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for row, image in enumerate(_mapped(self._image, wanted.tolist())):
            found[row] = image
        return found

    def take(self, index: Any) -> "LazyImages":
        """Return the images of these indices, without reading one."""
        return LazyImages(
            self._read, self._places[index], shape=self.shape[1:], dtype=str(self.dtype)
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            f"These {len(self):,} images are read when they are asked for, and would take "
            f"{self.size * self.dtype.itemsize / 1e9:.1f} GB as one array. Take some: images[:100]."
        )

    def _image(self, place: int) -> np.ndarray:
        image = self._read(place)
        if image.shape != self.shape[1:]:
            raise DataError(
                f"Image {place} must have the shape {self.shape[1:]} of the others, got "
                f"{image.shape}."
            )
        return image


def _mapped(read: Read, places: list[int]) -> Iterator[np.ndarray]:
    if len(places) < 4:
        return map(read, places)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="tlkit-read") as pool:
        return iter(list(pool.map(read, places)))
