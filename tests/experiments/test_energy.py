import threading
from pathlib import Path

import pytest

from tlkit.experiments import energy


def _counter(root: Path, name: str, kind: str, microjoules: int, most: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two processors, a part of one, and the machine as a whole."""
    _counter(tmp_path, "intel-rapl:0", "package-0", 100_000)
    _counter(tmp_path, "intel-rapl:0:0", "core", 50_000)
    _counter(tmp_path, "intel-rapl:1", "package-1", 900_000)
    _counter(tmp_path, "intel-rapl:2", "psys", 0)
    return tmp_path


def test_packages_are_added_up_and_begin_again_at_their_end(machine: Path) -> None:
    with energy.measure_energy(root=machine) as used:
        _counter(machine, "intel-rapl:0", "package-0", 400_000)
        _counter(machine, "intel-rapl:0:0", "core", 950_000)
        _counter(machine, "intel-rapl:1", "package-1", 100_000)
        _counter(machine, "intel-rapl:2", "psys", 999_999)
    assert used.joules == pytest.approx(0.3 + 0.2)


def test_long_runs_are_looked_at_in_between(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with energy.measure_energy(root=machine) as used:
        for value in (700_000, 200_000, 800_000):  # more than once around, in all
            _counter(machine, "intel-rapl:0", "package-0", value)
            used.update()
    assert used.joules == pytest.approx(0.6 + 0.5 + 0.6)


def test_a_watcher_looks_while_the_block_runs(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    monkeypatch.setattr(energy, "_SECONDS", 0.001)
    monkeypatch.setattr(energy.Energy, "update", lambda self: looked.set())
    with energy.measure_energy(root=machine):
        assert looked.wait(10)


@pytest.mark.parametrize("broken", ["missing", "unreadable", "gone half way"])
def test_what_cannot_be_read_is_not_measured(machine: Path, broken: str) -> None:
    root = machine / "nowhere" if broken == "missing" else machine
    if broken == "unreadable":
        (machine / "intel-rapl:1" / "energy_uj").write_text("")
    with energy.measure_energy(root=root) as used:
        if broken == "gone half way":
            (machine / "intel-rapl:0" / "energy_uj").unlink()
    assert used.joules is None
