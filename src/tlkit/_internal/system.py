"""The cores and the memory that this process may use, and the processor's name."""

import ctypes
import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np

_ROOT = Path("/")
_ASSUMED_MEMORY = 4 * 2**30


def count_cores() -> int:
    """Return how many cores this process may use; with joblib, a container's limit counts too."""
    try:
        return int(importlib.import_module("joblib").cpu_count())
    except ModuleNotFoundError:  # installed without dependencies, for `Predictor`
        known = getattr(os, "sched_getaffinity", lambda pid: range(os.cpu_count() or 1))
        return len(known(0))


def has_avx512() -> bool:
    """Return whether NumPy found AVX-512 instructions in the processor."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return any(name.startswith(("AVX512", "X86_V4")) for name in found)


def processor(root: Path = _ROOT) -> str | None:
    """Return the name of the processor's model; None if the system does not report it.

    Args:
        root: The folder that contains `proc`.
    """
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):  # the second on some ARM boards
            return value.strip() or None
    if sys.platform == "darwin":
        return _output_of("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor() if sys.platform == "win32" else None


def known_memory(root: Path = _ROOT) -> int | None:
    """Return `memory()`, or None if the system does not report its memory.

    Args:
        root: The folder that contains `proc` and `sys`.
    """
    return None if _known_physical(root) is None else memory(root)


def memory(root: Path = _ROOT) -> int:
    """Return how many bytes of memory this process may use, including the bytes it uses now.

    The result is 4 GiB if the system does not report its memory (Windows).

    Args:
        root: The folder that contains `proc` and `sys`.
    """
    return min([_physical(root), *(limit for limit, _ in _limits(root))])


def free_memory(root: Path = _ROOT) -> int:
    """Return how many more bytes of memory this process may use now.

    The system's file cache counts as free. The system's free memory counts as half of its memory if
    the system does not report it (macOS, Windows).

    Args:
        root: The folder that contains `proc` and `sys`.
    """
    available = _read_meminfo(root, "MemAvailable")
    if available is None:
        available = _physical(root) // 2
    return max(0, min([available, *(limit - used for limit, used in _limits(root))]))


def resident_bytes(root: Path = _ROOT) -> int | None:
    """Return how many bytes of memory this process uses now; None if the system does not report it.

    Args:
        root: The folder that contains `proc`.
    """
    kibibytes = _field(root / "proc/self/status", "VmRSS:")
    return None if kibibytes is None else 1024 * kibibytes


def release_memory() -> None:
    """Return freed memory from the C library to the system; effective only with glibc.

    Preparing an engine frees some hundred megabytes, which would count as used until the end.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).malloc_trim(0)


def _physical(root: Path) -> int:
    known = _known_physical(root)
    return _ASSUMED_MEMORY if known is None else known


def _known_physical(root: Path) -> int | None:
    total = _read_meminfo(root, "MemTotal")
    if total is not None:
        return total
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _output_of(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603  # fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _read_meminfo(root: Path, name: str) -> int | None:
    kibibytes = _field(root / "proc/meminfo", f"{name}:")
    return None if kibibytes is None else 1024 * kibibytes


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield each memory limit of this process (cgroups, `ulimit`) and how much of it is used."""
    yield from _resource_limits(root)
    versions = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for group in _groups(root, "memory"):
        for maximum, current, cached in versions:
            limit = _number(_read(group / maximum))
            if limit is not None:
                used = _number(_read(group / current)) or 0
                yield limit, used - (_field(group / "memory.stat", cached) or 0)


def _resource_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield the limits of `ulimit -v` and `ulimit -d`, and how much of them is used."""
    try:
        resource = importlib.import_module("resource")
    except ModuleNotFoundError:  # Windows
        return
    for name, used in (("RLIMIT_AS", "VmSize:"), ("RLIMIT_DATA", "VmData:")):
        limit, _ = resource.getrlimit(getattr(resource, name))
        if limit != resource.RLIM_INFINITY:
            yield limit, 1024 * (_field(root / "proc/self/status", used) or 0)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folder of every cgroup around this process, of versions 1 and 2.

    In a container, its own group may be mounted as the root while the path is still the host's
    path. Some of the folders do not exist then.
    """
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own = PurePosixPath(path.lstrip("/"))
        if not controllers:  # version 2
            yield from (mount / group for group in (own, *own.parents))
        elif controller in controllers.split(","):
            yield from (mount / controller / group for group in (own, *own.parents))


def _field(path: Path, name: str) -> int | None:
    """Return the number after the first word of a line in a file; None if no line starts so."""
    words = (line.split() for line in _read(path).splitlines())
    return next((_number(line[1]) for line in words if len(line) > 1 and line[0] == name), None)


def _number(text: str) -> int | None:
    """Return a whole number; None for "max", -1 and an empty text, all of which mean no limit."""
    return int(text) if text.strip().isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
