"""Read files of unknown origin without waiting forever, up to a maximum size, and as UTF-8."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from tlkit._internal.text import byte_size

MAX_BYTES = 64 * 2**20
"""The default maximum size of a file."""

_KINDS = {
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read its bytes; only regular files are accepted, since a pipe could block.

    Raises:
        OSError: The file does not exist, can't be read, or is a folder, pipe, socket or device.
            Its `strerror` completes a sentence: "it is a pipe".
    """
    try:
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except ValueError as error:  # NUL in the path
        raise OSError(0, "its name has a NUL character", str(path)) from error
    except PermissionError as error:
        if path.is_dir():  # on Windows
            raise OSError(0, "it is a folder", str(path)) from error
        raise
    except OSError as error:
        if not path.is_socket():
            raise
        raise OSError(error.errno, "it is a socket", str(path)) from error
    try:
        kind = stat.S_IFMT(os.fstat(handle).st_mode)
        if kind != stat.S_IFREG:
            raise OSError(0, f"it is {_KINDS.get(kind, 'not a file')}", str(path))
        return os.fdopen(handle, "rb")
    except OSError:
        os.close(handle)
        raise


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file.

    Args:
        path: The file.
        max_bytes: The largest accepted size.

    Raises:
        OSError: As for `open_regular`, or the file is larger.
    """
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(0, f"it is larger than {byte_size(max_bytes)}", str(path))
    return content


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Args:
        path: The file.
        max_bytes: The largest accepted size.

    Raises:
        OSError: As for `read_bytes`, or the file is not UTF-8.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt")
        ...     _ = path.write_text("hello")
        ...     read_text(path)
        'hello'
    """
    try:
        return read_bytes(path, max_bytes=max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}"
        raise OSError(0, why, str(path)) from error


def find_obstacle(path: Path) -> str:
    """Return why a path can't be read as a file, to complete a sentence; "" if it can."""
    try:
        open_regular(path).close()
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return reason(error)
    return ""


def reason(error: OSError) -> str:
    """Return why a file can't be read, to complete a sentence."""
    return error.strerror or str(error) or type(error).__name__


def exists(place: str | Path) -> bool:
    """Return whether there is such a file or folder; False for a name that no file can have.

    Examples:
        >>> exists("."), exists("a" * 1000), exists("")
        (True, False, False)
    """
    try:
        return bool(os.stat(place))  # noqa: PTH116  # Path("") is the current folder
    except (OSError, ValueError):
        return False
