"""The order of calls to the workers, and what follows if they are lost; no cluster is needed."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tlkit.distributed import tail_group, tail_training
from tlkit.distributed.cluster import Devices
from tlkit.distributed.storage import Location
from tlkit.distributed.tail_group import LostWorkerError, NoRoomError
from tlkit.distributed.tail_training import TailTraining
from tlkit.errors import ConfigError, TrainingError
from tlkit.training import Phase

DEVICES = Devices(workers=2, cpus=1, gpus=0)
LOST, NO_ROOM = LostWorkerError("it was killed"), NoRoomError("no room for 2 workers")


class _Group:
    """Stands for workers: each epoch has the next result, a loss or an error."""

    def __init__(self, results: Iterator[Any]) -> None:
        self.results = results
        self.saved: list[tuple[int, tuple[int, ...]]] = []

    def call_all(self, method: str, *arguments: Any) -> dict[str, float]:
        if method == "evaluate":
            return {}
        result = next(self.results)
        if isinstance(result, Exception):
            raise result
        return {"loss": result, "accuracy": 0.5, "learning_rate": 0.1}

    def call_first(self, method: str, epoch: int, values: Any, kept: tuple[int, ...]) -> None:
        self.saved.append((epoch, kept))


Train = Callable[..., tuple[TailTraining, list[int], list[str], _Group]]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train epochs with given results; starts, lines and saved states are returned too."""

    def run(results: Sequence[Any], **settings: Any) -> Any:
        group, starts, lines = _Group(iter(results)), list[int](), list[str]()

        @contextmanager
        def start(ray: Any, job: Any, devices: Devices, epoch: int) -> Iterator[_Group]:
            starts.append(epoch)
            if results[0] is NO_ROOM or (len(starts) == 2 and NO_ROOM in results):
                raise NO_ROOM
            yield group

        monkeypatch.setattr(tail_training.tail_group, "start", start)
        monkeypatch.setattr(tail_training.tail_group, "plan_remaining", lambda *_: DEVICES)
        job: Any = SimpleNamespace(phase=Phase(**settings), states=Location("/none"))
        training = TailTraining(job=job, settings={}, name="fine_tune", on_message=lines.append)
        training._started = 0.0
        training.run(SimpleNamespace(), DEVICES)
        return training, starts, lines, group

    return run


def test_each_loss_starts_from_the_last_finished_epoch(train: Train) -> None:
    training, starts, lines, _ = train([LOST, 3.0, LOST, 2.0, LOST, 1.0], epochs=3)
    assert starts == [0, 0, 1, 2]
    assert [epoch["loss"] for epoch in training.history] == [3, 2, 1]
    assert sum("a worker was lost in epoch" in line for line in lines) == 3


def test_losses_without_progress_are_an_error(train: Train) -> None:
    with pytest.raises(ConfigError, match="they were lost 3 times in a row: it was killed"):
        train([2.0, LOST, LOST, LOST], epochs=3)


def test_no_room_is_an_error_only_at_the_start(train: Train) -> None:
    with pytest.raises(ConfigError, match="`cluster` must have free devices .* no room for 2"):
        train([NO_ROOM], epochs=1)
    _, starts, _, _ = train([LOST, 1.0, NO_ROOM], epochs=1)
    assert starts == [0, 0, 0]  # until Ray knows that the machine is lost too


def test_a_loss_that_is_not_finite_is_an_error(train: Train) -> None:
    with pytest.raises(TrainingError, match="diverged: its loss was nan in epoch 2"):
        train([1.0, math.nan], epochs=3)


def test_patience_keeps_the_best_state(train: Train) -> None:
    training, _, _, group = train([3.0, 1.0, 2.0, 2.0, 0.0], epochs=5, patience=2, monitor="loss")
    assert len(training.history) == 4
    assert training._find_best(training.history) == 2
    assert group.saved == [(1, (0, 1)), (2, (1, 2)), (3, (2, 2)), (4, (3, 2))]


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
