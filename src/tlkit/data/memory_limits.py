"""Decode large images one at a time, and only if there is memory for their pixels."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tlkit._internal import system
from tlkit._internal.text import byte_size

_LARGE = 25_000_000  # pixels; smaller images are decoded by several threads at once
_BYTES = 12  # per pixel: as decoded by Pillow, rotated, and converted
_TURN = threading.Lock()


@contextmanager
def take_turn(size: tuple[int, int]) -> Iterator[None]:
    """Wait until no other large image is being decoded; small images need not wait.

    Args:
        size: Width and height in pixels, from the file's header.

    Raises:
        MemoryError: There is too little memory; the message states how much is needed.

    Examples:
        >>> with take_turn((4000, 3000)):
        ...     pass
    """
    width, height = size
    if width * height < _LARGE:
        yield
        return
    with _TURN:
        needed, free = _BYTES * width * height, system.free_memory()
        if needed > free:
            raise MemoryError(
                f"its {width:,} x {height:,} pixels take {byte_size(needed)} to decode, and "
                f"{byte_size(free)} of memory are free"
            )
        yield
