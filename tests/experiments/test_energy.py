import threading
from pathlib import Path

import pytest

from tlkit.experiments import energy


def _counter(root: Path, name: str, kind: str, microjoules: int, maximum: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{maximum}\n")
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two processors, a part of one, and the machine as a whole."""
    _counter(tmp_path, "intel-rapl:0", "package-0", 100_000)
    _counter(tmp_path, "intel-rapl:0:0", "core", 50_000)
    _counter(tmp_path, "intel-rapl:1", "package-1", 900_000)
    _counter(tmp_path, "intel-rapl:2", "psys", 0)
    return tmp_path


def test_packages_are_summed_and_counters_may_wrap(machine: Path) -> None:
    with energy.measure_energy(root=machine) as used:
        _counter(machine, "intel-rapl:0", "package-0", 400_000)
        _counter(machine, "intel-rapl:0:0", "core", 950_000)
        _counter(machine, "intel-rapl:1", "package-1", 100_000)
        _counter(machine, "intel-rapl:2", "psys", 999_999)
    assert used.joules == pytest.approx(0.3 + 0.2)


def test_counters_that_wrap_several_times_are_read_in_between(machine: Path) -> None:
    with energy.measure_energy(root=machine) as used:
        for value in (700_000, 200_000, 800_000):  # wraps more than once
            _counter(machine, "intel-rapl:0", "package-0", value)
            used.update()
    assert used.joules == pytest.approx(0.6 + 0.5 + 0.6)


def test_a_thread_updates_while_the_block_runs(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated = threading.Event()
    monkeypatch.setattr(energy, "_SECONDS", 0.001)
    monkeypatch.setattr(energy.Energy, "update", lambda self: updated.set())
    with energy.measure_energy(root=machine):
        assert updated.wait(10)


@pytest.mark.parametrize("broken", ["missing", "unreadable", "disappears"])
def test_counters_that_cannot_be_read_give_no_energy(machine: Path, broken: str) -> None:
    root = machine / "nowhere" if broken == "missing" else machine
    if broken == "unreadable":
        (machine / "intel-rapl:1" / "energy_uj").write_text("")
    with energy.measure_energy(root=root) as used:
        if broken == "disappears":
            (machine / "intel-rapl:0" / "energy_uj").unlink()
    assert used.joules is None
