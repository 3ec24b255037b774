"""Files written whole or not at all, and the room that their disk has."""

import errno
import io
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tlkit.errors import StoreError


def check_room(folder: Path, wanted: int) -> None:
    """Return where a folder's disk has so many bytes free; call it before the work.

    Raises:
        StoreError: It has not.
    """
    if _free(folder) < wanted:
        raise failure(f"write {human(wanted)} to", folder, OSError("there is too little room"))


def write_atomically(path: Path, fill: Callable[[io.BufferedRandom], object]) -> None:
    """Write a file, all of it or nothing, in place of what is there."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x+b") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def failure(doing: str, path: Path, error: OSError) -> StoreError:
    """Return the error that says what can't be done, why, and how much room there is."""
    advice = (
        "Make room with tlkit.caching.store.Store(folder=...).prune(...), or choose another folder."
    )
    if error.errno == errno.EMFILE:
        advice = "Each shard keeps a file open: raise the limit (`ulimit -n`), or make them larger."
    return StoreError(
        f"Can't {doing} '{path}': {error.strerror or error}; "
        f"{human(_free(path))} are free on its disk. {advice}"
    )


def _free(path: Path) -> int:
    for there in (path, *path.parents):
        with suppress(OSError):  # not there yet, or out of bounds
            return shutil.disk_usage(there).free
    return 0


def human(count: float) -> str:
    """Return a number of bytes in the unit that a person would say it in."""
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    size, unit = next((each for each in units if count >= each[0]), (1, "bytes"))
    return f"{count / size:,.{1 if size > 1 else 0}f} {unit}"
