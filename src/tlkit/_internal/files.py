"""Write files and folders atomically, explain errors of the disk, and check its free space."""

import errno
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlkit._internal import failpoints, temporaries
from tlkit._internal.text import byte_size
from tlkit.errors import StoreError, TlkitError

TEMPORARY = temporaries.WRITING
"""The prefix of the names of temporary files and folders."""

_targets: dict[Path, Path] = {}  # the target of each temporary path
_OF_DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
)
_NUMBER = re.compile(r"errno\]? ?=? ?(\d+)", re.IGNORECASE)  # as HDF5 and Python write it


@contextmanager
def replace_atomically(target: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file or folder to; then rename it to the target.

    The temporary path is in the target's folder, which must exist, and has the target's suffix.
    An existing file or empty folder at the target is replaced. If the block fails, the temporary
    file is removed. If the process is killed, another process removes it later: see
    `temporaries`.

    Raises:
        StoreError: The disk is full or fails, or the file may not be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replace_atomically(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("hello")
        ...     [path.name for path in Path(folder).iterdir()]
        ['a.txt']
    """
    temporary = temporaries.reserve(target.parent, suffix=target.suffix)
    try:
        with explain_disk(target), _renamed_to(target, temporary):
            yield temporary
            failpoints.reach("write", temporary)
            sync(temporary)
            if temporary.is_dir() and target.is_dir():
                target.rmdir()  # Windows does not rename onto an empty folder
            rename(temporary, target)
            sync_folder(target.parent)
    finally:
        temporaries.remove(temporary)


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder that is synced to the disk; a file at the target is replaced.

    On a network file system the server's answer may be lost. The client then repeats the request
    and reports that the source does not exist; the rename succeeded if the target is now that file.

    Raises:
        OSError: The rename failed.
    """
    failpoints.reach("rename", source)
    before = source.stat()
    try:
        source.replace(target)
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            if os.path.samestat(before, target.stat()):
                return
        raise


@contextmanager
def explain_disk(path: Path) -> Iterator[None]:
    """Turn errors of the disk inside the block into a StoreError, even if Keras wraps them.

    Keras and HDF5 raise errors of other classes that have the number of the system's error in
    their text.

    Args:
        path: The file that is being written.

    Raises:
        StoreError: The disk is full or fails, or the file may not be written.
    """
    try:
        yield
    except TlkitError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        number = _find_number(error)
        if number not in _OF_DISK:
            raise
        cause = OSError(number, os.strerror(number))
        raise to_write_error(path, cause) from cause


def _find_number(error: Exception) -> int:
    """Return the `errno` of an error, if need be from its text; 0 if it has no such number."""
    number = getattr(error, "errno", None)
    found = _NUMBER.search(str(error))
    return number or (int(found[1]) if found else 0)


@contextmanager
def fill_atomically(target: Path) -> Iterator[Path]:
    """Yield a temporary folder to write files to; then move the files to the target.

    A target that does not exist is created with all files at once. An existing target (it may be a
    link, the current folder, or on another disk) receives the files one by one, in the order in
    which they were written; files of the same name are replaced, and others stay.

    Raises:
        StoreError: A file can't be written. The target is unchanged, unless a rename fails: then
            it lacks the files written last, such as an index of all files.
    """
    try:
        if not target.exists():
            with replace_atomically(target) as made:
                made.mkdir()
                yield made
            return
        with temporaries.temporary_folder(target) as made, _renamed_to(target, made):
            yield made
            failpoints.reach("write", made)
            sync(made)
            for path in sorted(made.iterdir(), key=lambda path: path.stat().st_mtime_ns):
                rename(path, target / path.name)
            sync_folder(target)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise to_write_error(target, error) from error


@contextmanager
def _renamed_to(target: Path, temporary: Path) -> Iterator[None]:
    """Let errors inside the block name the target instead of the temporary path."""
    _targets[temporary] = target
    try:
        yield
    finally:
        del _targets[temporary]


def sync(path: Path) -> None:
    """Wait until a file, or a folder with its files, is on the disk and not only in memory."""
    failpoints.reach("sync", path)
    for each in (*path.rglob("*"), path) if path.is_dir() else (path,):
        if each.is_dir():
            _sync_names(each)
        elif each.is_file():
            with each.open("r+b") as file:
                os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk: a power cut would undo their renames."""
    failpoints.reach("folder", path)
    _sync_names(path)


def _sync_names(path: Path) -> None:
    if os.name == "nt":  # Windows can't open a folder
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems can't sync a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


DAMAGE_ERRORS = (
    *(AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)
"""The errors of Keras, h5py, zipfile and json for a file of weights that is damaged or wrong."""

_BEGINNINGS = {
    ".h5": b"\x89HDF\r\n\x1a\n",
    ".hdf5": b"\x89HDF\r\n\x1a\n",
    ".keras": b"PK",
    ".npz": b"PK",
}


def describe_damage(path: Path) -> str:
    """Return what is wrong with a file of weights or a model; "" if it seems intact.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = Path(folder, "model.h5")
        ...     _ = page.write_text("<!DOCTYPE html> 404: Not Found")
        ...     describe_damage(page)
        'it is a web page or XML, such as the error page of a download'
    """
    with path.open("rb") as file:
        start = file.read(512)
    beginning = _BEGINNINGS.get(path.suffix.lower())
    if not start:
        return "it is empty"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "it is a web page or XML, such as the error page of a download"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself (run: git lfs pull)"
    if beginning is None or not start.startswith(beginning):
        return "" if beginning is None else f"it is not a {path.suffix} file, whatever its name"
    if beginning == b"PK" and not zipfile.is_zipfile(path):
        return "it is cut short, as after an interrupted download or copy"
    return ""


def check_room(folder: Path, num_bytes: int) -> None:
    """Check that a folder's disk has this many bytes free.

    Raises:
        StoreError: It has less free space.
    """
    if _free(folder) < num_bytes:
        error = OSError("there is not enough space")
        raise to_store_error(f"write {byte_size(num_bytes)} to", folder, error)


def to_store_error(action: str, path: Path, error: OSError) -> StoreError:
    """Return an error that states what failed, why, how much space is free and what to do."""
    if isinstance(error, StoreError) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    advice = (
        "Make room with tlkit.caching.store.Store(folder=...).prune(...), or choose another folder."
    )
    if error.errno == errno.EMFILE:
        advice = "Each shard keeps a file open: raise the limit (`ulimit -n`), or make them larger."
    return StoreError(
        f"Can't {action} '{path}': {error.strerror or error}; "
        f"{byte_size(_free(path))} are free on its disk. {advice}"
    )


def to_write_error(path: Path, error: OSError) -> StoreError:
    """Return an error that states which file can't be written, why, and how much space is free."""
    if isinstance(error, StoreError):
        return error
    for part in (path, *path.parents):
        if part in _targets:
            return to_write_error(_targets[part] / path.relative_to(part), error)
    return StoreError(
        f"Can't write '{path}': {error.strerror or error}; "
        f"{byte_size(_free(path))} are free on its disk."
    )


def _free(path: Path) -> int:
    """Return the free bytes of a path's disk; the path need not exist yet."""
    for existing in (path, *path.parents):
        with suppress(OSError):  # it does not exist, or may not be read
            return shutil.disk_usage(existing).free
    return 0
