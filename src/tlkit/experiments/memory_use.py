"""Measure by how much the memory of the process grows while a recipe trains."""

import threading
from collections.abc import Callable

from tlkit._internal import system
from tlkit.experiments.trained import Trained

_SAMPLING_SECONDS = 0.05


def measure_memory(work: Callable[[], Trained]) -> tuple[Trained, float | None]:
    """Return the result of a function, and the peak growth of the process in bytes meanwhile.

    Args:
        work: The function.
    """
    before = system.resident_bytes()
    if before is None:
        return work(), None
    done = threading.Event()
    peak = [before]

    def watch() -> None:
        while not done.wait(_SAMPLING_SECONDS):
            peak[0] = max(peak[0], system.resident_bytes() or 0)

    thread = threading.Thread(target=watch, daemon=True, name="tlkit-memory")
    thread.start()
    try:
        return work(), float(max(peak[0], system.resident_bytes() or 0) - before)
    finally:
        done.set()
        thread.join()
