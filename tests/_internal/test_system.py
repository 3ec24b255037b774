import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tlkit._internal import system

GIB = 2**30
MEMINFO = f"MemTotal: {16 * 2**20} kB\nMemFree: 5 kB\nMemAvailable: {8 * 2**20} kB\n"


def _tree(root: Path, files: dict[str, str | int]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def test_without_cgroups_it_is_the_whole_machine(tmp_path: Path) -> None:
    root = _tree(tmp_path, {})
    assert system.memory(root) == 16 * GIB
    assert system.free_memory(root) == 8 * GIB


def test_version_2_memory_counts_cached_files_as_free(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/job/task"
    root = _tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/task",
            f"{group}/memory.max": 4 * GIB,
            f"{group}/memory.current": 3 * GIB,
            f"{group}/memory.stat": f"anon {2 * GIB}\ninactive_file {GIB}",
        },
    )
    assert system.memory(root) == 4 * GIB
    assert system.free_memory(root) == 2 * GIB


def test_the_narrowest_group_around_the_process_counts(tmp_path: Path) -> None:
    root = _tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/task",
            "sys/fs/cgroup/job/memory.max": 6 * GIB,
            "sys/fs/cgroup/job/memory.current": 5 * GIB,
            "sys/fs/cgroup/job/task/memory.max": 3 * GIB,
            "sys/fs/cgroup/job/task/memory.current": GIB,
            "sys/fs/cgroup/other/memory.max": 1,
        },
    )
    assert system.memory(root) == 3 * GIB
    assert system.free_memory(root) == GIB


def _version_1(limit: int, used: int) -> dict[str, str | int]:
    """The host's path is not to be seen in the container."""
    return {
        "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": used,
        "sys/fs/cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 1024",
    }


def test_version_1(tmp_path: Path) -> None:
    root = _tree(tmp_path, _version_1(2 * GIB, GIB))
    assert system.memory(root) == 2 * GIB
    assert system.free_memory(root) == GIB + 1024


def test_version_1_without_limits(tmp_path: Path) -> None:
    root = _tree(tmp_path, _version_1(9223372036854771712, GIB))
    assert system.memory(root) == 16 * GIB
    assert system.free_memory(root) == 8 * GIB


def test_a_group_over_its_limit_has_nothing_free(tmp_path: Path) -> None:
    assert system.free_memory(_tree(tmp_path, _version_1(GIB, 2 * GIB))) == 0


def test_other_systems_are_asked_in_their_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert system.memory(tmp_path) == 4_096_000
    assert system.free_memory(tmp_path) == 2_048_000
    monkeypatch.delattr(os, "sysconf")
    assert system.memory(tmp_path) == 4 * GIB


def test_the_real_machine_is_plausible() -> None:
    assert 2**26 < system.free_memory() <= system.memory() < 2**50


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor : 0\nmodel name\t: AMD EPYC 7B13\nflags : fpu\n", "AMD EPYC 7B13"),
        ("processor : 0\nBogoMIPS : 50\n\nModel\t\t: Raspberry Pi 4\n", "Raspberry Pi 4"),
        ("processor : 0\nmodel name :\n", None),
        ("", None),
    ],
)
def test_the_processor_is_what_linux_calls_it(
    tmp_path: Path, cpuinfo: str, model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert system.processor(_tree(tmp_path, {"proc/cpuinfo": cpuinfo})) == model


def test_elsewhere_the_processor_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert system.processor(tmp_path) is None  # sysctl is not there
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(platform, "processor", lambda: "Intel64 Family 6")
    assert system.processor(tmp_path) == "Intel64 Family 6"


def test_memory_is_told_where_it_is_known_and_not_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert system.known_memory(_tree(tmp_path, {})) == 16 * GIB
    monkeypatch.delattr(os, "sysconf")
    empty = tmp_path / "empty"
    assert system.known_memory(empty) is None
    assert system.memory(empty) == 4 * GIB


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limits_of_the_shell_count(run_python: Callable[..., str], name: str) -> None:
    code = f"""
import resource
from tlkit._internal import system
resource.setrlimit(resource.{name}, (2**31, 2**31))
first = system.free_memory()
kept = bytearray(2**29)
print(system.memory(), first, first - system.free_memory())
"""
    limit, free, taken = map(int, run_python(code).split())
    assert limit == 2**31
    assert 2**30 < free < 2**31
    assert taken == pytest.approx(2**29, rel=0.05)
