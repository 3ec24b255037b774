"""Measure the energy that processors use, on machines whose counters can be read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COUNTERS = Path("/sys/class/powercap")
_SECONDS = 30.0  # between readings; at 1 kW the counters wrap around after minutes at the earliest


class Energy:
    """The energy that the processors have used since the creation of this object."""

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
    """Measure the processors' energy while a block is executed.

    Linux counts the energy of whole processor packages (RAPL), including that of other programs,
    but without memory, disks, graphics cards and the power supply. On most machines only root can
    read the counters.

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
    """Return each processor package's counter in microjoules, and the value at which it wraps."""
    found = {}
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            if not (folder / "name").read_text().startswith("package"):  # not a whole package
                continue
            found[folder.name] = (
                int((folder / "energy_uj").read_text()),
                int((folder / "max_energy_range_uj").read_text()),
            )
        except (OSError, ValueError):
            return {}
    return found
