"""A Ray cluster: connect to it, list its devices, and check its machines."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras

from tlkit._internal import system
from tlkit._internal.optional import require
from tlkit.distributed.environment import Machine
from tlkit.distributed.storage import explain
from tlkit.errors import Argument, ConfigError

LOCAL = "local"
"""The name of a cluster that consists of this machine only."""
_SECONDS_TO_CONNECT = 10
_MODE = "RAY_AUTH_MODE"  # Ray sends no token to an address without it, and then only times out
_TOKEN = f" If this cluster uses token authentication, set {_MODE}=token here too."


@dataclass(frozen=True, kw_only=True)
class Devices:
    """The devices that run the frozen part, one worker each.

    Attributes:
        workers: The number of workers.
        cpus: Cores of each worker.
        gpus: GPUs of each worker: 0 or 1.
    """

    workers: int
    cpus: int
    gpus: int

    def __str__(self) -> str:
        each = "a GPU and " * self.gpus + f"{self.cpus} core{'s' * (self.cpus > 1)}"
        return f"{self.workers} worker{'s' * (self.workers > 1)} with {each}" + " each" * (
            self.workers > 1
        )

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a worker, which limit its threads to its cores."""
        limits = ("LOKY_MAX_CPU_COUNT", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        return {
            "KERAS_BACKEND": keras.config.backend(),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **dict.fromkeys(limits, str(self.cpus)),
        }


@contextmanager
def connect(cluster: str) -> Iterator[ModuleType]:
    """Yield Ray, connected to a cluster; an existing connection is used and left open.

    By default, Ray reports usage statistics to its developers. A cluster that is started here does
    not, unless RAY_USAGE_STATS_ENABLED is set.

    Args:
        cluster: "local" starts a cluster on this machine; otherwise the address of a cluster.

    Raises:
        ConfigError: There is no such cluster, or it runs other versions of Ray or Python.
        MissingExtraError: Ray is not installed.
    """
    ray = require("ray", extra="ray")
    require("ray.data", extra="ray")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    _check_reachable(cluster)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster == LOCAL:
        how |= {"num_cpus": system.count_cores(), "include_dashboard": False}
    try:
        ray.init(cluster, **how)  # without an address, Ray prefers a cluster that runs already
    except Exception as error:  # Ray raises this class itself, if it does not start in time
        has_mode = cluster == LOCAL or _MODE in os.environ
        raise _refuse(cluster, error, "" if has_mode else _TOKEN) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(cluster: str) -> None:
    """Check that something listens at an address, for which Ray would wait for minutes."""
    host, colon, port = cluster.rpartition("//")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # a name such as "local", or an address that only Ray understands
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise _refuse(cluster, error) from error


def _refuse(cluster: str, error: Exception, advice: str = "") -> ConfigError:
    reason = explain_last_line(error) if "Traceback" in str(error) else explain(error)
    return ConfigError(
        Argument("cluster"),
        f' must be "local" or the address of a running Ray cluster, such as ray://host:10001, got '
        f"{cluster!r}: {reason}.{advice}",
    )


def plan_devices(nodes: Sequence[Mapping[str, Any]], workers: int | None) -> Devices:
    """Return how many workers a cluster has room for: one per GPU, or without GPUs per machine.

    If machines without GPUs differ, a worker gets as many cores as the smallest machine has, and
    larger machines run several workers.

    Args:
        nodes: The result of `ray.nodes()`.
        workers: The number of workers that share these devices instead; None chooses it.

    Raises:
        ConfigError: The cluster has no cores, or fewer cores or GPUs than `workers`.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    having = [each for each in alive if each.get("GPU", 0) >= 1] or alive
    cores = [int(each.get("CPU", 0)) for each in having]
    gpus = [int(each.get("GPU", 0)) for each in having]
    total = sum(gpus) or sum(cores)
    if not sum(cores) or (workers or 1) > total:
        raise ConfigError(
            Argument("workers"),
            f" must be at most the cluster's {total} {'GPUs' if sum(gpus) else 'cores'}, got "
            f"{workers or 1}.",
        )
    if sum(gpus):
        share = min(core // gpu for core, gpu in zip(cores, gpus, strict=True))
        return Devices(workers=workers or total, cpus=max(1, share), gpus=1)
    least = min(core for core in cores if core)
    if workers is None:
        return Devices(workers=sum(core // least for core in cores), cpus=least, gpus=0)
    share = next(
        each for each in range(least, 0, -1) if sum(core // each for core in cores) >= workers
    )
    return Devices(workers=workers, cpus=share, gpus=0)


def ask_machines(
    ray: ModuleType,
    describe: Callable[..., Machine],
    *arguments: Any,
    variables: Mapping[str, str],
) -> list[Machine]:
    """Return a description of each machine of a cluster that can run tasks.

    Args:
        ray: Ray, connected to the cluster.
        describe: Returns the description of the machine that calls it.
        arguments: The arguments of `describe`.
        variables: Environment variables to set on the machines.

    Raises:
        ConfigError: A machine can't import tlkit.
    """
    place = require("ray.util.scheduling_strategies", extra="ray").NodeAffinitySchedulingStrategy
    how = {"num_cpus": 0, "max_retries": 1, "runtime_env": {"env_vars": dict(variables)}}
    task = ray.remote(**how)(describe)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    asked = [
        task.options(scheduling_strategy=place(node["NodeID"], soft=False)).remote(*arguments)
        for node in nodes
    ]
    found: list[Machine] = []
    for node, reference in zip(nodes, asked, strict=True):
        try:
            found.append(ray.get(reference))
        except (ray.exceptions.RayError, ImportError) as error:
            raise ConfigError(
                Argument("cluster"),
                f" must have machines with the same tlkit as here and its extra `ray`, but"
                f" {node['NodeManagerHostname']} can't run a task: "
                f"{explain_last_line(error)}.",
            ) from error
    return found


def explain_last_line(error: BaseException) -> str:
    """Return the last line of an error, where Ray shows the message of a worker's own error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return explain(RuntimeError(lines[-1] if lines else type(error).__name__))
