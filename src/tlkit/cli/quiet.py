"""Say that TensorFlow is imported, and leave out what it prints of itself meanwhile.

It is written by compiled code straight to the process's standard error, before any setting of
Python's logging can be heard.
"""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tlkit.cli.import_hook import while_importing

_PACKAGE = "tensorflow"
_OWN = re.compile(
    rb"(WARNING: All log messages before absl|[IWE]\d{4} \d\d|To enable the following instructions)"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
)


@contextmanager
def hide_startup() -> Iterator[None]:
    """Hide what TensorFlow prints in the block about itself, such as that there is no GPU.

    While it is imported, which takes seconds, a line on standard error says so. Nothing is hidden
    if the environment variable `TF_CPP_MIN_LOG_LEVEL` is set: who sets it wants to choose.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    log, level = logging.getLogger(_PACKAGE), logging.getLogger(_PACKAGE).level
    log.setLevel(logging.ERROR)  # such as that a function was traced five times
    try:
        with while_importing(_PACKAGE, _announce_loading):
            yield
    finally:
        log.setLevel(level)
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]


@contextmanager
def _announce_loading() -> Iterator[None]:
    """Say that TensorFlow is loaded, and hide its lines; a terminal loses the line afterwards."""
    is_terminal = sys.stderr.isatty()
    sys.stderr.write("loading TensorFlow\r" if is_terminal else "loading TensorFlow\n")
    try:
        with _filtered_errors():
            yield
    finally:
        if is_terminal:
            sys.stderr.write("\x1b[2K")


@contextmanager
def _filtered_errors() -> Iterator[None]:
    """Write to standard error, after the block, what it wrote there, but for TensorFlow's lines."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            for line in file:
                if not _OWN.match(line):
                    os.write(2, line)
