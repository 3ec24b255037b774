"""Store arrays in a safetensors file with a checksum beside it, to be mapped into memory.

A shard is two files. `NAME.safetensors` contains the arrays `array_0`, `array_1` and so on, for any
program that supports the format; its header has the folder and the name that it was written under.
`NAME.sha256` contains its checksum in the format of `sha256sum --check`. The checksum is written
first, so that every existing shard has one.
"""

import errno
import hashlib
import json
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from tlkit.errors import DataError

SUFFIX = ".safetensors"

_CHECKSUM_SUFFIX = ".sha256"
_DTYPES = {  # NumPy's dtypes that the format supports, by the name in its header
    "BOOL": "bool",
    "C64": "complex64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    **{
        f"{letter}{bits}": f"{kind}{bits}"
        for letter, kind in (("I", "int"), ("U", "uint"))
        for bits in (8, 16, 32, 64)
    },
}
_NAME = "array_{}"
_METADATA, _PLACE = "__metadata__", "shard"
_ERRORS = (
    *(AttributeError, LookupError, MemoryError, OverflowError, RecursionError),
    *(TypeError, ValueError),
)
_PREFIX_BYTES = 8  # the length of the header


class DamagedError(OSError):
    """The content of a shard differs from the content that was written."""


def checksum_path(shard: Path) -> Path:
    """Return the path of a shard's checksum."""
    return shard.with_suffix(_CHECKSUM_SUFFIX)


def to_bytes(arrays: Sequence[np.ndarray], path: Path) -> bytes:
    """Return the content of a shard's file at this path, for arrays that `to_storable` returned."""
    named = {_NAME.format(index): array for index, array in enumerate(arrays)}
    return safetensors.numpy.save(named, metadata={_PLACE: _place_of(path)})


def _place_of(path: Path) -> str:
    """Return the folder and name of a shard, since another shard may look alike otherwise."""
    return f"{path.parent.name}/{path.stem}"


def checksum(content: Any, name: str) -> bytes:
    """Return the content of the checksum file for a shard's content and file name."""
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()


def load(path: Path) -> list[np.ndarray]:
    """Return the arrays of a shard, memory-mapped and read-only, after a check.

    Raises:
        DamagedError: The content differs from the content that was written.
        FileNotFoundError: The shard does not exist.
    """
    whole = _map_file(path)
    try:
        wanted = checksum_path(path).read_bytes()
    except FileNotFoundError:
        raise DamagedError(errno.EIO, "it has no checksum", str(path)) from None
    if wanted != checksum(whole, path.name):
        raise DamagedError(errno.EIO, "its checksum is wrong", str(path))
    return _split_arrays(whole, path)


def load_unchecked(path: Path, content: bytes) -> list[np.ndarray]:
    """Return the arrays of a shard that this process has just written, as `load` does.

    The arrays are in memory if another process has deleted the shard meanwhile.
    """
    try:
        whole: np.ndarray = _map_file(path)
    except FileNotFoundError:
        whole = np.frombuffer(content, np.uint8)
    return _split_arrays(whole, path)


def count_rows(path: Path) -> int:
    """Return how many rows a shard's arrays have; 0 if the shard can't be read."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(_PREFIX_BYTES), "little")
            return int(json.loads(file.read(size))[_NAME.format(0)]["shape"][0])
    except (OSError, *_ERRORS):
        return 0


def read_last(path: Path) -> np.ndarray:
    """Return a copy of a shard's last array, without reading or checking the other arrays.

    Raises:
        DamagedError: The file can't be read as a shard.
        FileNotFoundError: The shard does not exist.
    """
    with path.open("rb") as file, _explain_damage(path):
        size = int.from_bytes(file.read(_PREFIX_BYTES), "little")
        header = _read_header(file.read(size), path)
        entry = header[_NAME.format(len(header) - 1)]
        begin, end = entry["data_offsets"]
        file.seek(_PREFIX_BYTES + size + begin)
        values = np.frombuffer(file.read(end - begin), _DTYPES[entry["dtype"]])
        return values.reshape(entry["shape"])


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except _ERRORS:
        raise DamagedError(errno.EIO, "its header is damaged", str(path)) from None


def _map_file(path: Path) -> np.memmap:
    """Map a whole file at once, since each mapping keeps a file open."""
    with path.open("rb") as file:
        try:
            return np.memmap(file, np.uint8, mode="r")
        except ValueError:  # an empty file can't be mapped
            raise DamagedError(errno.EIO, "it is empty", str(path)) from None


def _read_header(text: bytes, path: Path) -> dict[str, Any]:
    """Return the header of a shard without its metadata, after checking the metadata."""
    header: dict[str, Any] = json.loads(text)
    if header.pop(_METADATA, {}).get(_PLACE) != _place_of(path):
        raise DamagedError(errno.EIO, "it was written under another name", str(path))
    return header


def _split_arrays(whole: np.ndarray, path: Path) -> list[np.ndarray]:
    """Return the arrays in the bytes of a file as views; the safetensors package would copy them.

    The format is the length of a header in 8 bytes, the header as JSON with the dtype, shape and
    place of each array, and the arrays' data.
    """
    with _explain_damage(path):
        start = _PREFIX_BYTES + int.from_bytes(whole[:_PREFIX_BYTES].tobytes(), "little")
        header = _read_header(whole[_PREFIX_BYTES:start].tobytes(), path)
        arrays = []
        for index in range(len(header)):
            entry = header[_NAME.format(index)]
            begin, end = entry["data_offsets"]
            data = whole[start + begin : start + end].view(_DTYPES[entry["dtype"]])
            arrays.append(data.reshape(entry["shape"]))
        return arrays


def release_pages(arrays: Sequence[np.ndarray]) -> None:
    """Let the system free the memory of a file that `load` mapped; it is read again if needed.

    Args:
        arrays: Arrays of one shard; may be empty.
    """
    mapped: Any = arrays[0] if arrays else None
    while isinstance(mapped, np.ndarray):
        mapped = mapped.base
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)


def to_storable(array: np.ndarray) -> np.ndarray:
    """Return an array in a form that shards support: contiguous, in the machine's byte order.

    Raises:
        DataError: safetensors has no such dtype, or the array has no axis.
    """
    if not array.ndim or array.dtype.name not in _DTYPES.values():
        raise DataError(
            "Features must have an axis and a dtype that safetensors and NumPy share, got "
            f"{array.dtype} of shape {array.shape}. Convert them, such as with astype('float32')."
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))
