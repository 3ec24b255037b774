"""Arrays in memory, or in a temporary file if they are too large for it."""

import tempfile
from pathlib import Path

import numpy as np

from tlkit._internal import files


def create(shape: tuple[int, ...], *, max_bytes: int | None, dtype: str = "float32") -> np.ndarray:
    """Return a new array; a file on disk is removed together with its array.

    Args:
        shape: The array's shape.
        max_bytes: The largest array that is created in memory; None creates all of them there.
        dtype: The array's dtype.

    Raises:
        StoreError: The disk has too little free space.

    Examples:
        >>> type(create((2, 3), max_bytes=24)).__name__, type(create((2, 3), max_bytes=23)).__name__
        ('ndarray', 'memmap')
    """
    size = np.dtype(dtype).itemsize * int(np.prod(shape))
    if max_bytes is None or size <= max_bytes:
        return np.empty(shape, dtype)
    folder = Path(tempfile.gettempdir())
    files.check_room(folder, size)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        raise files.to_store_error("write features to", folder, error) from error
