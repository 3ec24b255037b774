"""Arrays in one file with a checksum, to be mapped into memory."""

import errno
import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import DataError

_CHECKSUM_BYTES = 32
_KINDS = "biufcmMSU"  # of dtypes that a .npy file can name; bfloat16 is not among them
_MAGIC = b"tlkit shard 1, arrays: "
_PART_BYTES = 64  # a shard's parts begin at multiples of it, as the data in a .npy file does


class DamagedError(OSError):
    """A shard is not what was written."""


def write(file: io.BufferedRandom, arrays: Sequence[np.ndarray]) -> None:
    """Write arrays to an empty file, and their checksum."""
    file.write((_MAGIC + str(len(arrays)).encode()).ljust(_PART_BYTES))
    for array in arrays:
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
        file.write(bytes(-file.tell() % _PART_BYTES))
    file.seek(0)
    file.write(hashlib.file_digest(file, _checksum).digest())


def load(path: Path) -> list[np.ndarray]:
    """Return the arrays of a file, memory-mapped and read-only.

    Raises:
        DamagedError: It is not what was written.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:  # nor can an empty file be mapped
            raise DamagedError(errno.EIO, "it is not a shard", str(path))
        whole = np.memmap(file, np.uint8, mode="r")  # one for all arrays: each holds a file open
        if _checksum(whole[:-_CHECKSUM_BYTES]).digest() != whole[-_CHECKSUM_BYTES:].tobytes():
            raise DamagedError(errno.EIO, "its checksum is wrong", str(path))
        arrays, start = [], _PART_BYTES
        for _ in range(int(whole[len(_MAGIC) : _PART_BYTES].tobytes())):
            file.seek(start)
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            begin, end = file.tell(), file.tell() + math.prod(shape) * dtype.itemsize
            arrays.append(whole[begin:end].view(dtype).reshape(shape))
            start = end + -end % _PART_BYTES
    return arrays


def storable(array: np.ndarray) -> np.ndarray:
    """Return an array in one piece, as it can be kept.

    Raises:
        DataError: It is of a kind that can't be kept, or has no axis.
    """
    if not array.ndim or array.dtype.kind not in _KINDS:
        raise DataError(
            f"Arrays must have an axis and a dtype of NumPy's own to be kept, got {array.dtype} of "
            f"shape {array.shape}. Convert it, such as with astype('float32')."
        )
    return np.ascontiguousarray(array)


def _checksum(data: Any = b"") -> "hashlib.blake2b":
    return hashlib.blake2b(data, digest_size=_CHECKSUM_BYTES)
