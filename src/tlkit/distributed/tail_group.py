"""Workers that train together: start them, call all of them, and end them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from tlkit._internal.optional import require
from tlkit.distributed import cluster as clusters
from tlkit.distributed.cluster import Devices
from tlkit.distributed.tail_rows import TailJob
from tlkit.distributed.tail_worker import TailWorker
from tlkit.errors import Argument, ConfigError, TlkitError

_SECONDS_TO_PLACE = 120
_SECONDS_TO_RETURN = 7 * 24 * 3600  # an epoch may take days
_SECONDS_AFTER_FIRST = 6 * 3600  # all make the same steps, but may read from disks of other speed
_JAX_ERRORS = ("JaxRuntimeError", "XlaRuntimeError")
_LASTING = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED")  # not of a connection


class LostWorkerError(Exception):
    """A worker died, or could not reach the others; the message says why."""


class NoRoomError(LostWorkerError):
    """There is no room for the workers; the machine of a lost worker may be lost too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TailGroup:
    """The workers of a training.

    Attributes:
        ray: Ray, connected to the cluster.
        actors: The workers, in the order of their ranks.
    """

    ray: ModuleType
    actors: Sequence[Any]

    def call_all(self, method: str, *arguments: Any) -> Any:
        """Call a method of all workers, and return the result of the first one.

        Raises:
            LostWorkerError: A worker was lost, or did not finish.
            TlkitError: A worker raised it.
        """
        asked = [getattr(actor, method).remote(*arguments) for actor in self.actors]
        waiting, seconds = list(asked), _SECONDS_TO_RETURN
        while waiting:  # one by one: the others wait for a lost worker, and never finish
            done, waiting = self.ray.wait(waiting, num_returns=1, timeout=seconds)
            if not done:
                hours = f"{seconds / 3600:g} hour{'s' * (seconds > 3600)}"
                raise LostWorkerError(f"{len(waiting)} of {len(asked)} did not finish in {hours}")
            _fetch(self.ray, done[0])
            seconds = _SECONDS_AFTER_FIRST
        return _fetch(self.ray, asked[0])

    def call_first(self, method: str, *arguments: Any) -> Any:
        """Call a method of the first worker; errors are those of `call_all`."""
        return _fetch(self.ray, getattr(self.actors[0], method).remote(*arguments))


def _fetch(ray: ModuleType, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, TlkitError):
            raise type(cause)(*cause.args) from error
        if not is_loss(ray, error):
            raise
        raise LostWorkerError(clusters.explain_last_line(error)) from error


# If a worker dies, JAX in the others raises an error too, and that may arrive first. Any other
# error in the code of a worker would come again with new workers.
def is_loss(ray: ModuleType, error: Exception) -> bool:
    """Return whether an error means that a process, a machine or a connection was lost.

    Args:
        ray: Ray.
        error: An error that Ray raised.
    """
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
        return False
    if not isinstance(error, ray.exceptions.RayTaskError):
        return True
    cause = getattr(error, "cause", None)
    is_from_jax = type(cause).__name__ in _JAX_ERRORS
    is_lasting = str(cause).startswith(_LASTING)
    return isinstance(cause, ConnectionError) or (is_from_jax and not is_lasting)


def plan_devices(ray: ModuleType, batch_size: int, workers: int | None) -> Devices:
    """Return the devices of the workers, whose number divides the batch size.

    Args:
        ray: Ray, connected to the cluster.
        batch_size: The number of images in a step of all workers.
        workers: The number of workers; None uses as many devices as possible.

    Raises:
        ConfigError: The number does not divide the batch size, or the cluster is too small.
    """
    if workers is not None and batch_size % workers:
        raise ConfigError(
            Argument("workers"),
            f" must divide the phase's batch_size of {batch_size}, since each worker computes an "
            f"equal share of each step, got {workers}.",
        )
    found = clusters.plan_devices(ray.nodes(), workers)
    return replace(found, workers=_divide(batch_size, found.workers))


def describe_idle(ray: ModuleType, batch_size: int, workers: int) -> str:
    """Return how many devices stay idle, and a batch size that uses all; empty if none does.

    Args:
        ray: Ray, connected to the cluster.
        batch_size: The number of images in a step of all workers.
        workers: The number of workers.
    """
    devices = clusters.plan_devices(ray.nodes(), None)
    idle = devices.workers - workers
    if idle <= 0:
        return ""
    fitting = devices.workers * max(1, round(batch_size / devices.workers))
    return (
        f"{idle} of {devices.workers} devices stay idle, since the number of workers must divide "
        f"the batch_size of {batch_size}; a batch_size of {fitting} would use all"
    )


def plan_remaining(ray: ModuleType, batch_size: int, workers: int) -> Devices:
    """Return devices as `plan_devices` does, for at most this number of workers."""
    for count in range(workers, 1, -1):
        with suppress(ConfigError):  # the machine of a lost worker may be lost too
            return plan_devices(ray, batch_size, count)
    return plan_devices(ray, batch_size, 1)


def _divide(batch_size: int, limit: int) -> int:
    """Return the largest number up to a limit that divides the batch size."""
    return next(each for each in range(min(limit, batch_size), 0, -1) if batch_size % each == 0)


def list_variables(devices: Devices) -> dict[str, str]:
    """Return the environment variables of workers, which run Keras on JAX."""
    return {**devices.variables, "KERAS_BACKEND": "jax", "NPROC": str(devices.cpus)}


@contextmanager
def start(ray: ModuleType, job: TailJob, devices: Devices, epoch: int) -> Iterator[TailGroup]:
    """Yield workers that have the state after an epoch, and end them on exit.

    Raises:
        LostWorkerError: A worker was lost, or there is no room for the workers.
        TlkitError: A worker can't read the images, or the state.
    """
    placement = require("ray.util.placement_group", extra="ray")
    strategies = require("ray.util.scheduling_strategies", extra="ray")
    bundle = {"CPU": devices.cpus, **({"GPU": devices.gpus} if devices.gpus else {})}
    group = placement.placement_group([bundle] * devices.workers, strategy="PACK")
    actors: list[Any] = []
    try:
        if not group.wait(_SECONDS_TO_PLACE):
            raise NoRoomError(f"no room for {devices} within {_SECONDS_TO_PLACE} s")
        for rank in range(devices.workers):
            how = strategies.PlacementGroupSchedulingStrategy(
                group, placement_group_bundle_index=rank
            )
            make = ray.remote(
                num_cpus=devices.cpus,
                num_gpus=devices.gpus,
                scheduling_strategy=how,
                runtime_env={"env_vars": list_variables(devices)},
            )(TailWorker)
            actors.append(make.remote(job, rank, devices.workers))
        found = TailGroup(ray=ray, actors=actors)
        found.call_all("start", found.call_first("find_address"), epoch)
        yield found
    finally:
        for actor in actors:
            ray.kill(actor)
        placement.remove_placement_group(group)
