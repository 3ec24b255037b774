"""Simulated disk failures: a test chooses at which step of writing a file an error occurs.

The environment variable `TLKIT_FAIL_WRITE` chooses the step: "3" fails the third step, "3+" the
third and all later ones, "rename:2" the second rename. "3+:EIO" raises the error EIO; the default
is ENOSPC, a full disk. The steps are "write" (the content is written, and the file is truncated to
half), "sync", "rename", and "folder" (the sync of a folder's names).
"""

import errno
import os
import re
import threading
from pathlib import Path

VARIABLE = "TLKIT_FAIL_WRITE"

_FORM = re.compile(r"(?:([a-z]+):)?(\d+)(\+?)(?::(E[A-Z]+))?")
_LOCK = threading.Lock()
_counted: dict[str, int] = {}  # steps by setting, so that each new setting counts from 1


def reach(step: str, path: Path) -> None:
    """Count a step, and fail if the environment chooses this step.

    Args:
        step: Its name: "write", "sync", "rename" or "folder".
        path: The file or folder that is being written.

    Raises:
        OSError: The environment chooses this step.
        ValueError: The environment variable has another form.
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
    """Return how many steps were counted since the last call, and restart at 0."""
    with _LOCK:
        total = sum(_counted.values())
        _counted.clear()
        return total
