"""What happens to a simulated Ray cluster during an extraction, and what its nodes did.

`fake_cluster.py` uses it. Processes are stopped and killed by their numbers.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster_kills import Command

Row = dict[str, Any]
Nodes = dict[int, Any]
"""The nodes besides the head, by the process of their raylet, which starts their workers."""

STOP = 20.0  # seconds for which a straggler is stopped
PATIENCE = 120.0  # seconds until a node must compute a part
EVENTS = {
    "nothing": "nothing",
    "straggler": f"a worker is stopped for {STOP:.0f} s",
    "lost": "a node is lost",
    "replaced": "a node is lost and a new one comes",
    "silent": "a node does not answer any more",
    "driver": "the driver is killed and started again",
}


def add_node(cluster: Any, nodes: Nodes) -> None:
    node = cluster.add_node(num_cpus=1)
    [raylet] = node.all_processes["raylet"]
    nodes[raylet.process.pid] = node


def read_attempts(file: Path) -> list[Row]:
    """Return every attempt to compute a part: its node, and how many images it has computed."""
    found: dict[tuple[int, int, int], Row] = {}
    for line in file.read_text().splitlines():
        row = json.loads(line)
        found.setdefault((row["part"], row["worker"], row["number"]), {}).update(row)
    return list(found.values())


def count_parts(attempts: Sequence[Row], raylet: int) -> int:
    """Return how many parts the workers of a node have computed."""
    return sum(each["raylet"] == raylet and each.get("computed", 0) > 0 for each in attempts)


def count_repeated(attempts: Sequence[Row]) -> int:
    """Return how many parts were started again; a worker that died has not ended its attempt."""
    started = [each["part"] for each in attempts if each.get("computed", 1) > 0]
    return len(started) - len(set(started))


def find_busy(file: Path, nodes: Nodes) -> tuple[int, int]:
    """Return the raylet and the worker of a node that is computing a part."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for attempt in reversed(read_attempts(file)):
            if "computed" not in attempt and attempt["raylet"] in nodes:
                return attempt["raylet"], attempt["worker"]
        time.sleep(0.05)
    raise SystemExit(f"No node computed a part for {PATIENCE:.0f} s: see {file}.")


def do_nothing(*given: Any) -> Callable[[], None]:
    return lambda: None


def stop_worker(cluster: Any, nodes: Nodes, command: Command, file: Path) -> Any:
    """Stop a worker for a while."""
    _, worker = find_busy(file, nodes)
    os.kill(worker, signal.SIGSTOP)
    command.wait(STOP)
    os.kill(worker, signal.SIGCONT)
    return do_nothing()


def lose_node(cluster: Any, nodes: Nodes, command: Command, file: Path) -> Any:
    """Kill all processes of a node."""
    raylet, _ = find_busy(file, nodes)
    cluster.remove_node(nodes[raylet], allow_graceful=False)
    return do_nothing()


def replace_node(cluster: Any, nodes: Nodes, command: Command, file: Path) -> Any:
    """Kill all processes of a node, and add another node."""
    lose_node(cluster, nodes, command, file)
    add_node(cluster, nodes)
    return do_nothing()


def silence_node(cluster: Any, nodes: Nodes, command: Command, file: Path) -> Any:
    """Stop all processes of a node until the command has ended."""
    stopped = find_busy(file, nodes)
    for process in stopped:
        os.kill(process, signal.SIGSTOP)

    def go_on() -> None:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
        time.sleep(STOP)  # the worker may finish its part, which another one has finished

    return go_on


def kill_driver(cluster: Any, nodes: Nodes, command: Command, file: Path) -> Any:
    """Kill the driver, and start the same again."""
    command.kill()
    command.start()
    return do_nothing()


HAPPEN: dict[str, Callable[..., Callable[[], None]]] = {
    "nothing": do_nothing,
    "straggler": stop_worker,
    "lost": lose_node,
    "replaced": replace_node,
    "silent": silence_node,
    "driver": kill_driver,
}
