"""Temporary files and folders whose names identify their process, so that leftovers can be removed.

A name states the machine, boot, container and process it belongs to. It is a leftover if that
process has ended: no process with this number and start time runs, or the machine was rebooted.
Processes of another container or of another machine that shares the folder can't be looked up.
For them, a folder of features, which is in use during a whole run, has a lock; other temporary
files and folders count as in use until a day after their last change.
"""

import atexit
import functools
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tlkit._internal import locks

WRITING = ".writing-"
"""The prefix of files and folders that are being written and will be renamed."""
FEATURES = ".features-"
"""The prefix of folders with the features of one run."""

_NAME = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}(?:\.\w+)*")
_LOCK = "lock"
_DAY_SECONDS = 86_400
_mine: dict[Path, int] = {}  # temporary paths by the process that created them; forks inherit them
_visited: set[Path] = set()  # folders whose leftovers were removed


def reserve(folder: Path, *, prefix: str = WRITING, suffix: str = "") -> Path:
    """Return an unused path in a folder; `remove_own` removes it.

    The first call for a folder also removes the leftovers of dead processes there.

    Args:
        folder: The folder, which need not exist.
        prefix: The beginning of the name.
        suffix: The end of the name.
    """
    if folder not in _visited:
        _visited.add(folder)
        remove_leftovers(folder)
    owner = (*_system(), os.getpid(), _start_of(os.getpid()) or 0, uuid.uuid4().hex[:8])
    path = folder / f"{prefix}{'-'.join(map(str, owner))}{suffix}"
    _mine[path] = os.getpid()
    return path


@contextmanager
def temporary_folder(folder: Path | None = None) -> Iterator[Path]:
    """Create a folder that only this user can read, and remove it with its content on exit.

    Args:
        folder: Where to create it; the default is the system's folder of temporary files.

    Raises:
        OSError: The folder can't be created.

    Examples:
        >>> with temporary_folder() as made:
        ...     _ = (made / "a.txt").write_text("hello")
        >>> made.exists()
        False
    """
    path = reserve(Path(tempfile.gettempdir()) if folder is None else folder)
    try:
        path.mkdir(mode=0o700)
        yield path
    finally:
        remove(path)


def make_folder(folder: Path, owner: object, *, prefix: str) -> Path:
    """Create a folder inside another; it is removed when its owner is collected, or at exit.

    Args:
        folder: Where to create it; this folder is created if it does not exist.
        owner: An object; the new folder is removed when Python collects it.
        prefix: The beginning of the new folder's name.

    Raises:
        OSError: The folder can't be created.
    """
    path = reserve(folder, prefix=prefix)
    stack = ExitStack()
    stack.callback(remove, path)
    weakref.finalize(owner, stack.close)
    path.mkdir(parents=True)
    stack.enter_context(locks.hold(path / _LOCK))
    if not locks.is_held(path / _LOCK):  # this file system has no locks
        (path / _LOCK).unlink(missing_ok=True)
    return path


def remove(path: Path) -> None:
    """Remove a temporary file or folder of this process, if it exists."""
    if _mine.pop(path, None) not in (None, os.getpid()):
        return  # a forked process inherits the list, but not the files
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def remove_own() -> None:
    """Remove all temporary files and folders of this process: call it before exiting early."""
    for path in list(_mine):
        remove(path)


atexit.register(remove_own)


def remove_leftovers(folder: Path, *, prefixes: tuple[str, ...] = (WRITING, FEATURES)) -> int:
    """Remove temporary files and folders of dead processes; return how many bytes that freed.

    Args:
        folder: Where to look; subfolders are not searched.
        prefixes: The beginnings of the names to remove.
    """
    freed = 0
    with suppress(OSError), os.scandir(folder) as listed:
        names = [each.name for each in listed if each.name.startswith(prefixes)]
        for path in (folder / name for name in names):
            if _is_left(path, path.name.removeprefix(WRITING).removeprefix(FEATURES)):
                size = measure(path)
                remove(path)
                freed += size - measure(path)
    return freed


def measure(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder; 0 if it does not exist."""
    files = [Path(parent, name) for parent, _, names in os.walk(path) for name in names]
    sizes = 0
    for each in files or [path]:
        with suppress(OSError):  # another process may remove it meanwhile
            sizes += 0 if each.is_dir() else each.stat().st_size
    return sizes


def _is_left(path: Path, name: str) -> bool:
    """Return whether the process that a name belongs to has certainly ended."""
    if (found := _NAME.fullmatch(name)) is not None:
        machine, boot, space = _system()
        if (found[2], found[3]) == (boot, space):
            start = _start_of(int(found[4]))
            if start is None or start:
                return start != int(found[5])
        elif found[1] == machine and found[2] != boot:
            return True
    if path.name.startswith(FEATURES):
        lock = path / _LOCK
        return found is not None and found[2] == boot and lock.exists() and not locks.is_held(lock)
    times = [path, *path.rglob("*")] if path.is_dir() else [path]
    try:
        return time.time() - max(each.lstat().st_mtime for each in times) > _DAY_SECONDS
    except OSError:  # it is in use
        return False


@functools.cache
def _system() -> tuple[str, str, str]:
    """Return digests of this machine, of its boot, and of the namespace of its process numbers."""
    machine = [_read("/etc/machine-id"), socket.gethostname(), str(uuid.getnode())]
    boot = _read("/proc/sys/kernel/random/boot_id")
    names = Path("/proc/self/ns/pid")
    space = str(names.readlink()) if names.is_symlink() else ""
    return _digest(*machine), _digest(boot or str(machine)), _digest(space)


def _digest(*known: str) -> str:
    return hashlib.blake2b("\n".join(known).encode(), digest_size=4).hexdigest()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _start_of(pid: int) -> int | None:
    """Return a process' start time in the system's ticks; 0 if unknown, None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        state, *rest = text.rpartition(")")[2].split()
        return None if state in "ZX" else int(rest[18])
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _probe(pid)
    except (OSError, ValueError, IndexError):
        return 0


def _probe(pid: int) -> int | None:
    """Return None if a process has ended, else 0; for systems without /proc."""
    if os.name == "nt":  # there, signal 0 would end it
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # it runs as another user
        return 0
    return 0
