"""Locks on files that end with their process, however it ends."""

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

    The file is removed at the end. On a file system that has no locks nothing is held.

    Args:
        path: The lock's file, in a folder that exists.

    Raises:
        LockHeldError: Another process holds it, or another block of this one.
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
            path.unlink()  # still held: nobody else can have it
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
    """Return who this process is, as values that JSON can hold."""
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
            # Whoever held it before may have removed the file meanwhile: then this one is nobody's.
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
