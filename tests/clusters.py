"""A Ray cluster for tests, and the processes that it starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def start_local() -> Iterator[None]:
    """Start a cluster of two cores on this machine, and stop it afterwards."""
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield
    ray.shutdown()


def find_parent(pid: int) -> int:
    """Return the process that started another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def find_processes(title: bytes) -> list[int]:
    """Return the processes whose title begins so, also those of other tests on this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if (process / "cmdline").read_bytes().startswith(title):
                found.append(int(process.name))
    return found


def is_descendant(pid: int) -> bool:
    """Return whether this process has started another, or one of those that started it."""
    while pid > 1 and pid != os.getpid():
        try:
            pid = find_parent(pid)
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            return False
    return pid == os.getpid()
