"""The time that classifiers take, measured in turns on the same machine."""

import math
import statistics
import time
from collections.abc import Callable, Sequence

_ROUNDS = 5
_MIN_SECONDS = 0.03  # shorter calls are repeated, because a clock and a scheduler are coarse


# The speed of a machine changes during a measurement: it gets warm, or other programs run. So the
# functions take turns: each round times every function once, and the result is the median over the
# rounds. The first two calls of each, which allocate memory and choose kernels, are not counted.
def time_in_turns(functions: Sequence[Callable[[], object]]) -> list[float]:
    """Return the seconds of one call of each function: the median over several rounds."""
    repeats = []
    for function in functions:
        function()
        repeats.append(max(1, math.ceil(_MIN_SECONDS / max(_time(function, 1), 1e-6))))
    rounds = [
        [_time(function, count) for function, count in zip(functions, repeats, strict=True)]
        for _ in range(_ROUNDS)
    ]
    return [statistics.median(seconds) for seconds in zip(*rounds, strict=True)]


def _time(function: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - started) / count
