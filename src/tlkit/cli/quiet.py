"""Leave out what TensorFlow prints of itself when it is imported, before the first line of tlkit's.

It is written by compiled code straight to the process's standard error, before any setting of
Python's logging can be heard.
"""

import importlib.machinery
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

_PACKAGE = "tensorflow"
_OWN = re.compile(
    rb"(WARNING: All log messages before absl|[IWE]\d{4} \d\d|To enable the following instructions)"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
)


@contextmanager
def hide_startup() -> Iterator[None]:
    """Hide what TensorFlow prints in the block about itself, such as that there is no GPU.

    Nothing is hidden if the environment variable `TF_CPP_MIN_LOG_LEVEL` is set: who sets it wants
    to choose.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    finder = _QuietFinder()
    sys.meta_path.insert(0, finder)
    log, level = logging.getLogger(_PACKAGE), logging.getLogger(_PACKAGE).level
    log.setLevel(logging.ERROR)  # such as that a function was traced five times
    try:
        yield
    finally:
        log.setLevel(level)
        with suppress(ValueError):
            sys.meta_path.remove(finder)
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]


class _QuietFinder:
    """Finds TensorFlow as Python does, and filters standard error while it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load TensorFlow; None for any other module."""
        if name != _PACKAGE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        load = loader.exec_module

        def load_quietly(module: ModuleType) -> None:
            with _filtered_errors():
                load(module)

        loader.exec_module = load_quietly
        return spec


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
