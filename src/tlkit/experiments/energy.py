"""Measure the energy that processors use, on machines that let their counters be read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COUNTERS = Path("/sys/class/powercap")
_SECONDS = 30.0  # the counters wrap around; at 1 kW not sooner than in minutes


class Energy:
    """The energy that the processors have used so far."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before = _read(root)
        self._microjoules = 0

    @property
    def joules(self) -> float | None:
        """The energy in joules; None if the counters can't be read."""
        return self._microjoules / 1e6 if self._before else None

    def update(self) -> None:
        """Add the energy used since the last update."""
        now = _read(self._root)
        if now.keys() != self._before.keys():  # the counters can no longer be read
            self._before = {}
            return
        for name, (value, maximum) in now.items():
            used = value - self._before[name][0]
            self._microjoules += used if used >= 0 else used + maximum
        self._before = now


@contextmanager
def measure_energy(*, root: Path = _COUNTERS) -> Iterator[Energy]:
    """Measure the processors' energy while a block runs.

    Linux counts the energy of whole processor packages (RAPL), including that of other programs,
    without memory, disks, graphics cards and the power supply. Most machines let only root read
    the counters.

    Args:
        root: The folder of the counters.

    Examples:
        >>> with measure_energy() as energy:
        ...     total = sum(range(1000))
        >>> energy.joules is None or energy.joules >= 0
        True
    """
    energy = Energy(root)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_SECONDS):
            energy.update()

    watcher = threading.Thread(target=watch, name="tlkit-energy", daemon=True)
    watcher.start()
    try:
        yield energy
    finally:
        stop.set()
        watcher.join()
        energy.update()


def _read(root: Path) -> dict[str, tuple[int, int]]:
    """Return each processor package's counter in microjoules, and the value where it wraps."""
    found = {}
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            if not (folder / "name").read_text().startswith("package"):  # a part, or the whole
                continue
            found[folder.name] = (
                int((folder / "energy_uj").read_text()),
                int((folder / "max_energy_range_uj").read_text()),
            )
        except (OSError, ValueError):
            return {}
    return found
