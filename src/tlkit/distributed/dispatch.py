"""Distribute the parts of an extraction to the workers of a cluster, by Ray Data."""

import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tlkit._internal.optional import require
from tlkit.distributed import cluster as clusters
from tlkit.distributed.cluster import Devices
from tlkit.distributed.manifest import Part
from tlkit.distributed.worker import Job, Worker
from tlkit.errors import Argument, ConfigError

_MAX_BLOCKS = 10_000  # of parts: Ray stores a task for each
_MAX_FAILED_ROUNDS = 3  # in a row that finish no part


def run(job: Job, parts: Sequence[Part], devices: Devices) -> Iterator[dict[str, Any]]:
    """Yield a report of each part, as workers finish them.

    Args:
        job: The settings of the workers.
        parts: The parts.
        devices: The devices of the workers.

    Raises:
        ConfigError: The cluster fails, or workers die again and again.
    """
    is_client = importlib.import_module("ray.util.client").ray.is_connected()
    return (_run_there if is_client else _run_here)(job, parts, devices)


# Ray's own retries have no limit: a part that always kills its worker would be tried forever, and
# the part of a lost machine waits until another worker is idle. So Ray drops the parts of lost
# workers, and they run in the next round, on the workers that are left.
def _run_here(job: Job, parts: Sequence[Part], devices: Devices) -> Iterator[dict[str, Any]]:
    """Yield a report of each part, in rounds."""
    missing = {part.number: part for part in parts}
    failed_rounds = 0
    while missing:
        count = len(missing)
        for report in _run_round(job, list(missing.values()), devices):
            missing.pop(report["part"], None)
            yield report
        failed_rounds = failed_rounds + 1 if len(missing) == count else 0
        if failed_rounds == _MAX_FAILED_ROUNDS:
            raise ConfigError(
                Argument("cluster"),
                f" must have workers that can finish a part, but they died {failed_rounds} times "
                f"in a row, and {len(missing):,} of {len(parts):,} parts are missing. Machines "
                "whose memory is full kill workers: use smaller parts, or fewer workers. What is "
                "done is in `out`: run the same again.",
            )


class _Coordinator:
    """Distributes parts from a process of the cluster."""

    def __init__(self, job: Job, parts: Sequence[Part], devices: Devices) -> None:
        self._reports = _run_here(job, parts, devices)

    def take(self) -> dict[str, Any] | None:
        """Return the next report, or None after the last."""
        return next(self._reports, None)


# Ray's client, which addresses like ray://host:10001 use, has actors, but not Ray Data.
def _run_there(job: Job, parts: Sequence[Part], devices: Devices) -> Iterator[dict[str, Any]]:
    """Yield a report of each part, from a process of the cluster."""
    ray = require("ray", extra="ray")
    how = {"num_cpus": 0, "runtime_env": {"env_vars": devices.variables}}
    coordinator = ray.remote(**how)(_Coordinator).remote(job, parts, devices)
    try:
        while (report := ray.get(coordinator.take.remote())) is not None:
            yield report
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ConfigError):
            raise ConfigError(str(error.cause)) from error
        raise _explain_failure(error) from error
    except ray.exceptions.RayError as error:
        raise _explain_failure(error) from error


def _explain_failure(error: Exception) -> ConfigError:
    return ConfigError(
        Argument("cluster"),
        f" must keep running until all images are done, but it failed: "
        f"{clusters.explain_last_line(error)}. What is done is in `out`: run the same again.",
    )


def _run_round(job: Job, parts: list[Part], devices: Devices) -> Iterator[dict[str, Any]]:
    """Yield a report of each part that is finished; parts of workers that die are left out."""
    data = require("ray.data", extra="ray")
    errors = importlib.import_module("ray.exceptions")
    # Ray Data logs the errors of lost workers with a traceback.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    dataset = data.from_items(
        [asdict(part) for part in parts], override_num_blocks=min(len(parts), _MAX_BLOCKS)
    )
    with warnings.catch_warnings():
        # Ray 2.60 deprecates all settings that it has not named, and this one has no name yet.
        warnings.simplefilter("ignore")
        dataset = dataset.map_batches(
            Worker,
            batch_size=1,
            fn_constructor_args=(job,),
            compute=data.ActorPoolStrategy(
                size=min(devices.workers, len(parts)), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=devices.cpus,
            num_gpus=devices.gpus or None,
            runtime_env={"env_vars": devices.variables},
            max_task_retries=0,
        )
    dataset.context.enable_progress_bars = False
    dataset.context.max_errored_blocks = -1
    try:
        for row in dataset.iter_rows():
            yield json.loads(row["report"])
    except errors.RayError as error:
        raise _explain_failure(error) from error
