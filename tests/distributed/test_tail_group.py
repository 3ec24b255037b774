"""Calls of workers by a simulated Ray, and the number of workers."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tlkit.distributed import tail_group
from tlkit.distributed.cluster import Devices
from tlkit.distributed.tail_group import LostWorkerError, TailGroup
from tlkit.errors import ConfigError, DataError


class _RayError(Exception):
    """Stands for the errors of Ray; some have the error of a worker as their cause."""

    def __init__(self, text: str = "", cause: Exception | None = None) -> None:
        super().__init__(text or str(cause))
        self.cause = cause


class _TaskError(_RayError): ...


class _SetupError(_RayError): ...


class JaxRuntimeError(RuntimeError):
    """Has the name of JAX' error, which need not be installed here."""


class _Ray:
    """Stands for Ray: each worker returns a value, raises an error, or never finishes (None)."""

    exceptions = SimpleNamespace(
        RayError=_RayError, RayTaskError=_TaskError, RuntimeEnvSetupError=_SetupError
    )

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def wait(
        self, waiting: Sequence[Any], *, num_returns: int, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        self.timeouts.append(timeout)
        done = [each for each in waiting if each.result is not None][:num_returns]
        return done, [each for each in waiting if each not in done]

    def get(self, reference: Any) -> Any:
        if isinstance(reference.result, Exception):
            raise reference.result
        return reference.result


def _call(*results: Any) -> Any:
    actors = [
        SimpleNamespace(train=SimpleNamespace(remote=lambda *_, each=each: each))
        for each in (SimpleNamespace(result=result) for result in results)
    ]
    ray: Any = _Ray()
    return TailGroup(ray=ray, actors=actors).call_all("train", 0)


def test_the_first_worker_answers() -> None:
    assert _call(1, 2, 3) == 1


@pytest.mark.parametrize(
    "error",
    [
        _RayError("the actor died"),
        _TaskError(cause=ConnectionResetError("by peer")),
        _TaskError(cause=JaxRuntimeError("UNKNOWN: Gloo all-reduce failed")),
    ],
)
def test_a_lost_process_or_connection_is_a_loss(error: Exception) -> None:
    with pytest.raises(LostWorkerError):
        _call(1, error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_TaskError(cause=ZeroDivisionError("a fault")), _TaskError),
        (_TaskError(cause=PermissionError("the folder")), _TaskError),
        (_TaskError(cause=JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")), _TaskError),
        (_SetupError("no such folder"), _SetupError),
        (_TaskError(cause=DataError("it has changed")), DataError),
    ],
)
def test_an_error_that_would_come_again_is_raised_at_once(
    error: Exception, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        _call(1, error)


@pytest.mark.parametrize(("results", "count"), [((None, None), "2 of 2"), ((1, None), "1 of 2")])
def test_a_step_that_never_ends_is_a_loss(results: Any, count: str) -> None:
    with pytest.raises(LostWorkerError, match=f"{count} did not finish in .* hours"):
        _call(*results)


def _cluster(*cores: int) -> Any:
    nodes = [{"Alive": True, "Resources": {"CPU": count}} for count in cores]
    return SimpleNamespace(nodes=lambda: nodes)


def test_the_number_of_workers_divides_the_batch() -> None:
    assert tail_group.plan_devices(_cluster(1, 1, 1), 16, None).workers == 2
    assert tail_group.plan_devices(_cluster(8), 16, 4) == Devices(workers=4, cpus=2, gpus=0)
    with pytest.raises(ConfigError, match="`workers` must divide the phase's batch_size of 16"):
        tail_group.plan_devices(_cluster(8), 16, 3)


def test_fewer_workers_go_on_if_there_is_less_room() -> None:
    assert tail_group.plan_remaining(_cluster(2, 1), 12, 4).workers == 3
    assert tail_group.plan_remaining(_cluster(1), 12, 4).workers == 1
    assert tail_group.plan_remaining(_cluster(4, 4), 12, 4).workers == 4


@pytest.mark.parametrize(
    ("batch_size", "workers", "proposed"), [(61, 1, 64), (8, 8, 16), (40, 10, 32)]
)
def test_idle_devices_are_counted(batch_size: int, workers: int, proposed: int) -> None:
    ray = _cluster(*[2] * 16)
    assert tail_group.plan_devices(ray, batch_size, None).workers == workers
    message = tail_group.describe_idle(ray, batch_size, workers)
    assert message.startswith(f"{16 - workers} of 16 devices stay idle")
    assert message.endswith(f"a batch_size of {proposed} would use all")
    assert tail_group.plan_devices(ray, proposed, None).workers == 16
    assert not tail_group.describe_idle(ray, proposed, 16)
