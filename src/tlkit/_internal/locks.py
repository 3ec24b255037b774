"""Locks on files; the operating system releases them when their process ends, however it ends."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


class LockHeldError(OSError):
    """Another process holds the lock."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold a lock while the block runs; the operating system releases it if the process is killed.

    The file is removed at the end. On a file system without locks the block runs unprotected.

    Args:
        path: The lock's file, in an existing folder.

    Raises:
        LockHeldError: Another process, or another block of this process, holds the lock.
        OSError: The file can't be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, hold(Path(folder) / "lock"):
        ...     is_held(Path(folder) / "lock")
        True
    """
    handle = _acquire(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # safe: this process still holds the lock
        os.close(handle)


def is_held(path: Path) -> bool:
    """Return whether a living process holds a lock."""
    try:
        with hold(path):
            return False
    except LockHeldError:
        return True
    except OSError:
        return False


def describe_owner() -> dict[str, Any]:
    """Return this process' number, host and time, as values that JSON supports."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle)
            # The previous holder may have removed the file: then this lock protects nothing.
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise LockHeldError(error.errno, "another process holds the lock") from error
        if error.errno not in _UNSUPPORTED:
            raise
