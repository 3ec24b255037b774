"""Run a command whose process and whose workers are killed at random moments, until it ends.

`cluster.py` uses it. Processes are found in Linux' folder /proc.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Victim = Literal["driver", "worker"]

EARLY_KILLS = 2  # of the driver, while it starts
EARLY_SECONDS = 20.0  # of its processor's time
LATE_KILLS: tuple[Victim, ...] = ("worker",) * 5 + ("driver",) * 3
LATEST = 0.8  # of the parts, after which nothing is killed any more
MAX_FAILURES = 5  # of the command without a kill: Ray gives up if it does not start in 30 seconds
PATIENCE = 60  # seconds after the last kill, until the processes of killed drivers must have ended


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A process to kill, and the moment.

    Attributes:
        victim: "driver" is the command, "worker" one of the processes that run the network.
        parts: How many parts must be finished.
        seconds: How long to wait then; without a part, the processor time of the driver.
    """

    victim: Victim
    parts: int
    seconds: float


def draw_kills(draw: random.Random, num_parts: int) -> list[Kill]:
    """Return the kills in their order."""
    victims = draw.sample(LATE_KILLS, len(LATE_KILLS))
    moments = sorted(draw.sample(range(1, int(LATEST * num_parts)), len(victims)))
    early = [
        Kill(victim="driver", parts=0, seconds=draw.uniform(0, EARLY_SECONDS))
        for _ in range(EARLY_KILLS)
    ]
    return early + [
        Kill(victim=victim, parts=parts, seconds=draw.uniform(0, 0.5))
        for victim, parts in zip(victims, moments, strict=True)
    ]


def run(words: Sequence[str], out: Path, *, num_parts: int, seed: int, log: Path) -> dict[str, Any]:
    """Run the command to its end; return what was killed, and what is left of that.

    Args:
        words: The command, which is started again after each kill of a driver.
        out: Its folder of features.
        num_parts: The number of parts.
        seed: The seed of the moments.
        log: The file of what it prints.
    """
    draw = random.Random(seed)
    command, killed, orphans = Command(words, out, log), [], set[Process]()
    for kill in draw_kills(draw, num_parts):
        command.wait_for(kill)
        if kill.victim == "worker":
            command.wait_until(command.find_workers)
            os.kill(draw.choice(command.find_workers()), signal.SIGKILL)
        else:
            orphans |= command.kill()
        killed.append({**asdict(kill), "finished": len(command.find_parts())})
        print(killed[-1], flush=True)
        if kill.victim == "driver":
            command.start()
    command.finish()
    return {
        "parts": num_parts,
        "killed": killed,
        "failures": command.num_failures,
        "rewritten": command.count_rewritten(),
        "temporary": [path.name for path in out.iterdir() if path.name.startswith(".")],
        "orphans": len(orphans),
        "alive": count_alive(orphans),
    }


Process = tuple[int, str]
"""The number of a process, and when it was started."""


class Command:
    """A running command that writes a file for each part.

    Args:
        words: The command.
        out: The folder of its files.
        log: The file of what it prints.

    Attributes:
        num_failures: How often it failed without a kill.
    """

    def __init__(self, words: Sequence[str], out: Path, log: Path) -> None:
        self._words, self._out, self._log = list(words), out, log
        self._seen: dict[str, tuple[int, int]] = {}
        self.num_failures = 0
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log)

    def find_parts(self) -> dict[str, tuple[int, int]]:
        """Return the inode and the time of each finished file."""
        found = {}
        with suppress(FileNotFoundError), os.scandir(self._out) as listed:
            for each in listed:
                if each.name.endswith(".parquet") and not each.name.startswith((".", "_")):
                    about = each.stat()
                    found[each.name] = about.st_ino, about.st_mtime_ns
        self._seen = found | self._seen
        return found

    def count_rewritten(self) -> int:
        """Return how many files are missing, or others than when they were first seen."""
        found = self.find_parts()
        return sum(found.get(name) != about for name, about in self._seen.items())

    def find_workers(self) -> list[int]:
        """Return the processes that run the network."""
        found = []
        for pid in list_descendants(self._process.pid):
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::MapWorker"):
                    found.append(pid)
        return found

    def wait_for(self, kill: Kill) -> None:
        """Wait for the moment of a kill."""
        if not kill.parts:
            self.wait_until(lambda: find_processor_time(self._process.pid) >= kill.seconds)
            return
        self.wait_until(lambda: len(self.find_parts()) >= kill.parts)
        self.wait(kill.seconds)

    def wait_until(self, is_reached: Callable[[], Any]) -> None:
        while not is_reached():
            self.wait(0.1)

    def wait(self, seconds: float) -> None:
        """Wait; if the command fails meanwhile, start it again."""
        with suppress(subprocess.TimeoutExpired):
            self._start_again(self._process.wait(seconds))

    def _start_again(self, code: int) -> None:
        if code == 0 or self.num_failures == MAX_FAILURES:
            raise SystemExit(f"The command ended with {code} before its last kill: {self._log}")
        self.num_failures += 1
        self.start()

    def kill(self) -> set[Process]:
        """Kill the command only, and return the processes that it has started."""
        started = {(pid, find_start(pid)) for pid in list_descendants(self._process.pid)}
        self._process.kill()
        self._process.wait()
        return {each for each in started if each[1]}

    def finish(self) -> None:
        """Wait until the command has ended."""
        while (code := self._process.poll()) != 0:
            self.find_parts()
            if code is None:
                time.sleep(0.1)
            else:
                self._start_again(code)


def list_descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:  # grows meanwhile
        found += children.get(each, [])
    return found[1:]


def find_processor_time(pid: int) -> float:
    """Return how many seconds a running process has used the processor."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def find_start(pid: int) -> str:
    """Return when a process was started, in the system's ticks; empty text if it has ended."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def count_alive(processes: set[Process]) -> int:
    """Return how many of these processes are still there after some patience."""
    deadline = time.monotonic() + PATIENCE
    while processes and time.monotonic() < deadline:
        processes = {each for each in processes if find_start(each[0]) == each[1]}
        time.sleep(0.5)
    return len(processes)
