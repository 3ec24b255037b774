"""Read many images with threads."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from tlkit._internal import system

Item = TypeVar("Item")
Result = TypeVar("Result")

_GROUP = 16  # images
_MIN_SECONDS = 6e-4  # for one image: threads are not faster for images that take less


# Reading an image with little decoding runs mostly in Python, where threads wait for each other:
# two are slower than one. Where threads help, a group of images at a time has less overhead.
def map_in_groups(read: Callable[[int], Result], numbers: Sequence[int]) -> Iterator[Result]:
    """Yield the result of a function for each number, in order.

    Args:
        read: Called by several threads, unless it is fast for the first numbers.
        numbers: The numbers to call it with.
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


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    batch_size: int,
    num_threads: int | None = None,
) -> Iterator[list[tuple[Item, Result]]]:
    """Yield items in batches, each item with the result of a function, in order.

    While the consumer uses a batch, threads compute the next one; memory holds two batches.

    Args:
        function: Called by several threads.
        items: The items to call it with.
        batch_size: The number of items in a batch.
        num_threads: The number of threads; by default that of the cores.

    Examples:
        >>> list(map_ahead(abs, [1, -2, -3], batch_size=2))
        [[(1, 1), (-2, 2)], [(-3, 3)]]
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    source = iter(items)
    pool = ThreadPoolExecutor(
        num_threads or system.count_cores(), thread_name_prefix="tlkit-stream"
    )
    try:
        while True:
            for item in islice(source, 2 * batch_size - len(waiting)):
                waiting.append((item, pool.submit(function, item)))
            if not waiting:
                return
            batch = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
            yield [(item, future.result()) for item, future in batch]
    finally:
        pool.shutdown(cancel_futures=True)
