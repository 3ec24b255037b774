"""The default folder of features, and the limit of its size."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pooch

Auto = Literal["auto"]

VARIABLE = "TLKIT_CACHE"
"""The environment variable with the default folder."""

MAX_BYTES = 5 * 10**9
_MAX_SHARE = 0.1  # of the disk's free space, features not counted


def default_folder() -> Path:
    """Return the folder in `TLKIT_CACHE`, or one in the user's cache folder."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path(pooch.os_cache("tlkit")) / "features"


def locate(folder: str | Path) -> Path:
    """Return the folder; "auto" means the default folder.

    Examples:
        >>> locate("features").name
        'features'
    """
    return default_folder() if folder == "auto" else Path(folder)


def limit_bytes(folder: Path, used: int) -> int:
    """Return the limit of the default folder: 5 GB, or a tenth of the disk's free space if less.

    Args:
        folder: The folder, which need not exist yet.
        used: The size of the features in it in bytes, which counts as free space.
    """
    for existing in (folder, *folder.parents):
        with suppress(OSError):
            free = shutil.disk_usage(existing).free
            return min(MAX_BYTES, int(_MAX_SHARE * (free + used)))
    return MAX_BYTES
