"""The energy a processor takes, where the machine lets its counters be read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COUNTERS = Path("/sys/class/powercap")
_SECONDS = 30.0  # the counters wrap around; at 1 kW not sooner than in minutes


class Energy:
    """What the processors took so far."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before = _read(root)
        self._microjoules = 0

    @property
    def joules(self) -> float | None:
        """The energy in joules; None where the machine does not let it be read."""
        return self._microjoules / 1e6 if self._before else None

    def update(self) -> None:
        """Add what was taken since the last time."""
        now = _read(self._root)
        if now.keys() != self._before.keys():  # can't be read any more
            self._before = {}
            return
        for name, (value, most) in now.items():
            taken = value - self._before[name][0]
            self._microjoules += taken if taken >= 0 else taken + most
        self._before = now


@contextmanager
def metered(*, root: Path = _COUNTERS) -> Iterator[Energy]:
    """Measure the processors' energy while a block runs.

    It is what Linux counts for the processor packages (RAPL), whatever runs on them; memory, disks,
    graphics cards and losses are not in it. Most machines let only root read it.

    Args:
        root: Where the counters are.

    Examples:
        >>> with metered() as energy:
        ...     total = sum(range(1000))
        >>> energy.joules is None or energy.joules >= 0
        True
    """
    energy = Energy(root)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_SECONDS):
            energy.update()

    watcher = threading.Thread(target=watch, name="tlkit-energy", daemon=True)
    watcher.start()
    try:
        yield energy
    finally:
        over.set()
        watcher.join()
        energy.update()


def _read(root: Path) -> dict[str, tuple[int, int]]:
    """Return the microjoules, and at how many they begin again, of each processor package."""
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
