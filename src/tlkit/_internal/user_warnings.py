"""Warnings that point at the line of the user's code that caused them."""

import os
import sys
import warnings
from pathlib import Path

_PACKAGE = f"{Path(__file__).parent.parent}{os.sep}"  # the separator excludes "tlkit_other"


def warn(message: str) -> None:
    """Warn, and point at the innermost line outside tlkit in the current calls.

    A fixed `stacklevel` counts functions, so it becomes wrong when a call is added in between.
    """
    level, frame = 1, sys._getframe()  # `inspect` is slower: it reads source files
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
