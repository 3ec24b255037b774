"""Read many images by threads."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tlkit._internal import system

Result = TypeVar("Result")

_GROUP = 16  # images
_MIN_SECONDS = 6e-4  # for an image, with which threads are as fast as none


# What takes Python half a millisecond and its decoder less is slower by two threads, which wait for
# each other, than by one. Where threads pay, a group at a time costs less than an image at a time.
def map_in_groups(read: Callable[[int], Result], numbers: Sequence[int]) -> Iterator[Result]:
    """Yield what a function returns for each number, in order.

    Args:
        read: Is called by several threads, unless it is quick for the first numbers.
        numbers: The numbers.
    """
    cores = system.count_cores()
    size = min(_GROUP, max(1, len(numbers) // (4 * cores)))
    started = time.perf_counter()
    first = [read(number) for number in numbers[:size]]
    is_quick = (time.perf_counter() - started) / size < _MIN_SECONDS
    yield from first
    rest = numbers[size:]
    if is_quick or not len(rest):
        yield from map(read, rest)
        return
    groups = [rest[start : start + size] for start in range(0, len(rest), size)]
    with ThreadPoolExecutor(cores, thread_name_prefix="tlkit-read") as pool:
        for group in pool.map(lambda group: [read(number) for number in group], groups):
            yield from group
