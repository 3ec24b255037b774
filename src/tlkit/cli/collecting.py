"""Garbage collection that pauses while Keras is imported, and then leaves out what that made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from tlkit.cli.import_hook import while_importing


# Importing Keras and TensorFlow makes some million objects that stay. The garbage collector would
# go through them again and again meanwhile, and later whenever it collects.
@contextmanager
def pause_for_imports() -> Iterator[None]:
    """Collect no garbage while the block imports Keras, and later none that was made by that."""
    with while_importing("keras", _pause):
        yield


@contextmanager
def _pause() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
