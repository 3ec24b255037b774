"""The order of calls to the workers, and what follows if they are lost; no cluster is needed."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from tests.samples import small_classifier

from tlkit.distributed import state_files, tail_training
from tlkit.distributed.cluster import Devices
from tlkit.distributed.storage import Location
from tlkit.distributed.tail import Frozen
from tlkit.distributed.tail_epochs import StoppingRule
from tlkit.distributed.tail_group import LostWorkerError, NoRoomError
from tlkit.distributed.tail_training import TailTraining
from tlkit.errors import ConfigError
from tlkit.models.inspection import probabilities_of
from tlkit.training import Phase
from tlkit.training.model_state import get_model

DEVICES = Devices(workers=2, cpus=1, gpus=0)
LOST, NO_ROOM = LostWorkerError("it was killed"), NoRoomError("no room for 2 workers")


class _Group:
    """Stands for workers: each epoch has the next result, a loss or an error."""

    def __init__(self, results: Iterator[Any]) -> None:
        self.results = results
        self.saved: list[tuple[int, set[int]]] = []

    def call_all(self, method: str, *arguments: Any) -> dict[str, float]:
        if method == "evaluate":
            return {}
        result = next(self.results)
        if isinstance(result, Exception):
            raise result
        return {"loss": result, "accuracy": 0.5, "learning_rate": 0.1}

    def call_first(self, method: str, epoch: int, values: Any, keep: set[int]) -> None:
        self.saved.append((epoch, keep))


Train = Callable[..., tuple[TailTraining, list[int], list[str], _Group]]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train epochs with given results; starts, lines and saved states are returned too."""

    def run(results: Sequence[Any], *, history: Any = (), **settings: Any) -> Any:
        group, starts, lines = _Group(iter(results)), list[int](), list[str]()

        @contextmanager
        def start(ray: Any, job: Any, devices: Devices, epoch: int) -> Iterator[_Group]:
            starts.append(epoch)
            if results[0] is NO_ROOM or (len(starts) == 2 and NO_ROOM in results):
                raise NO_ROOM
            yield group

        monkeypatch.setattr(tail_training.tail_group, "start", start)
        monkeypatch.setattr(tail_training.tail_group, "plan_remaining", lambda *_: DEVICES)
        job: Any = SimpleNamespace(phase=Phase(**settings), states=Location("/none"), names="abc")
        training = TailTraining(
            job=job, settings={}, name="fine_tune", on_message=lines.append, history=history
        )
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


@pytest.mark.parametrize(
    ("losses", "settings", "best"),
    [
        ([1.0, 2.0, 3.0, math.nan, 0.0], {}, 1),
        ([math.inf, 0.0], {}, 0),
        ([2.0, 1.0, math.nan, 0.0], {"patience": 2, "monitor": "accuracy"}, 2),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_phase(
    losses: list[float], settings: dict[str, Any], best: int, train: Train
) -> None:
    training, _, _, group = train(losses, epochs=5, **settings)
    assert len(training.history) == len(losses) - 1
    assert training._rule.find_best(training.history) == best
    assert all(best in {epoch, *keep} for epoch, keep in group.saved if epoch >= best)
    again, starts, _, _ = train(losses, history=training.history, epochs=5, **settings)
    assert (again.history, starts) == (training.history, [])  # it does not diverge again


@pytest.mark.parametrize("best", [2, 0])
def test_the_best_weights_are_restored_after_a_divergence(best: int, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'ray' is not installed")
    image = keras.Input((9, 9, 3))
    model = small_classifier(keras.Model(image, keras.layers.Conv2D(4, 3)(image)))
    trained, before = keras.models.clone_model(model), model.get_weights()
    trained.set_weights([weight + 1 for weight in before])
    folder = Location(str(tmp_path))
    state_files.write(folder, 2, {}, get_model(trained), keep_epochs=())
    frozen = Frozen(indices=(), batchnorm="frozen")
    job: Any = SimpleNamespace(phase=Phase(epochs=5), states=folder, names="abc", frozen=frozen)
    losses = [2.0, 1.0, math.nan] if best else [math.nan]
    training = TailTraining(
        job=job,
        settings={},
        name="fine_tune",
        on_message=print,
        history=tuple({"loss": loss} for loss in losses),
    )
    training._started = 0.0
    epoch, where = (3, "epoch 2") if best else (1, "before the phase")
    message = f"'fine_tune' diverged: its loss was nan in epoch {epoch}. .* {where}. Lower"
    with pytest.warns(UserWarning, match=message):
        run = training.finish(model)
    assert (run.best_epoch, run.diverged) == (best, epoch)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other + (best > 0))


def test_the_calibration_stays_until_training_is_finished(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'ray' is not installed")
    image = keras.Input((9, 9, 3))
    model = small_classifier(keras.Model(image, keras.layers.Conv2D(4, 3)(image)))
    probabilities_of(model).temperature = 2.0
    folder = Location(str(tmp_path))
    job: Any = SimpleNamespace(states=folder, model=folder.join("model.keras"))
    training = TailTraining(job=job, settings={}, name="fine_tune", on_message=print)
    training.open(model)
    assert probabilities_of(model).temperature == 2
    assert state_files.list_epochs(folder) == [0]


def test_patience_keeps_the_best_state(train: Train) -> None:
    training, _, _, group = train([3.0, 1.0, 2.0, 2.0, 0.0], epochs=5, patience=2, monitor="loss")
    assert len(training.history) == 4
    assert training._rule.find_best(training.history) == 2
    assert group.saved == [(1, {0, 1}), (2, {1, 2}), (3, {2}), (4, {3, 2})]


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 3)])
def test_a_metric_that_is_not_a_number_is_the_worst(mode: Any, best: int) -> None:
    rule = StoppingRule(epochs=9, patience=3, monitor="val_loss", mode=mode)
    history = [{"loss": 1.0, "val_loss": value} for value in (math.nan, 2.0, 3.0, math.nan)]
    assert rule.find_best(history) == best
    assert not rule.is_over(history)
    assert rule.find_best(history[:1]) == 1
