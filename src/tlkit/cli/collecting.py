"""Garbage collection that starts after Keras is imported, and leaves out what that made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from tlkit.cli.import_hook import while_importing


@contextmanager
def after_imports() -> Iterator[None]:
    """Collect garbage in the block once it has imported Keras, of objects made since then."""
    with while_importing("keras", _collecting_afterwards):
        yield


@contextmanager
def _collecting_afterwards() -> Iterator[None]:
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
