"""Steps of writing that a test can let fail, as a disk does that is full or breaks.

`TLKIT_FAIL_WRITE=3` lets the third step fail, `3+` that and all after it, `rename:2` the second
rename, and `3+:EIO` gives another error than that of a full disk. Steps are "write" (the file is
there, and is cut in half), "sync", "rename", and "folder" (the sync of a folder's names).
"""

import errno
import os
import re
import threading
from pathlib import Path

VARIABLE = "TLKIT_FAIL_WRITE"

_FORM = re.compile(r"(?:([a-z]+):)?(\d+)(\+?)(?::(E[A-Z]+))?")
_LOCK = threading.Lock()
_counted: dict[str, int] = {}  # steps by setting, so that another setting counts from 1


def reach(step: str, path: Path) -> None:
    """Count a step, and let it fail if it is the one that the environment names.

    Args:
        step: Its name.
        path: What is written.

    Raises:
        OSError: It is the one.
    """
    setting = os.environ.get(VARIABLE)
    if not setting:
        return
    found = _FORM.fullmatch(setting)
    if found is None:
        raise ValueError(f"{VARIABLE} must be such as 3, 3+, rename:2 or 3+:EIO, got {setting!r}.")
    name, number, on, error = found.groups()
    if name not in (None, step):
        return
    with _LOCK:
        count = _counted[setting] = _counted.get(setting, 0) + 1
    if count == int(number) or (on and count > int(number)):
        if step == "write" and path.is_file():
            os.truncate(path, path.stat().st_size // 2)
        code = getattr(errno, error or "ENOSPC")
        raise OSError(code, os.strerror(code), str(path))


def count_steps() -> int:
    """Return how many steps were reached since the last call, and count from 1 again."""
    with _LOCK:
        total = sum(_counted.values())
        _counted.clear()
        return total
