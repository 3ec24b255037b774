"""Where features are stored if no folder is named, and how much room they may take there."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pooch

Auto = Literal["auto"]

VARIABLE = "TLKIT_CACHE"
"""The environment variable that names the default folder."""

MAX_BYTES = 5 * 10**9
_MAX_SHARE = 0.1  # of the room that the disk would have without the features


def default_folder() -> Path:
    """Return the folder that `TLKIT_CACHE` names, or one in the user's folder of caches."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path(pooch.os_cache("tlkit")) / "features"


def locate(folder: str | Path) -> Path:
    """Return the folder; "auto" is the default one.

    Examples:
        >>> locate("features").name
        'features'
    """
    return default_folder() if folder == "auto" else Path(folder)


def limit_bytes(folder: Path, used: int) -> int:
    """Return how many bytes the default folder may have: 5 GB, or a tenth of a smaller disk's room.

    Args:
        folder: The folder, which need not exist yet.
        used: The bytes that it has.
    """
    for existing in (folder, *folder.parents):
        with suppress(OSError):
            free = shutil.disk_usage(existing).free
            return min(MAX_BYTES, int(_MAX_SHARE * (free + used)))
    return MAX_BYTES
