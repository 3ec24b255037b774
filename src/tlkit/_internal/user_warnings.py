"""Warnings that name the line of the user's code that they are about."""

import os
import sys
import warnings
from pathlib import Path

_PACKAGE = f"{Path(__file__).parent.parent}{os.sep}"  # not the beginning of another package


def warn(message: str) -> None:
    """Warn of something; the warning names the first line outside tlkit of the calls that led here.

    A fixed `stacklevel` counts functions, and is wrong as soon as one more lies in between.
    """
    level, frame = 1, sys._getframe()  # `inspect` would read the source
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
