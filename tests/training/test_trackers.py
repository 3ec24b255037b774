import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlkit.errors import ConfigError, MissingExtraError
from tlkit.training import trackers


def _fit(callback: keras.callbacks.Callback) -> list[float]:
    """Train two epochs, and return their losses."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    x = np.ones((4, 2), "float32")
    told = model.fit(x, x[:, :1], epochs=2, callbacks=[callback], verbose=0)
    return list(told.history["loss"])


def test_tensorboard_counts_epochs_through_both_phases(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    tracker = trackers.tracker("tensorboard", tmp_path)
    _fit(tracker)
    _fit(tracker)
    steps = [
        event.step
        for file in sorted((tmp_path / "train").glob("events.out.*"))
        for event in loader.EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if value.tag == "epoch_loss"
    ]
    assert sorted(steps) == [0, 1, 2, 3]


def test_mlflow_itself_gets_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(tmp_path.as_uri())
    mlflow.set_experiment("tlkit")
    tracker = trackers.tracker("mlflow", "run")
    with mlflow.start_run() as run:
        losses = _fit(tracker) + _fit(tracker)
    told = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [each.step for each in told] == [0, 1, 2, 3]
    assert [each.value for each in told] == pytest.approx(losses)


def test_wandb_itself_gets_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    tracker = trackers.tracker("wandb", "run")
    _fit(tracker)
    losses = _fit(tracker)
    summary = dict(wandb.run.summary)
    wandb.finish()
    assert summary["epoch"] == 3
    assert summary["loss"] == pytest.approx(losses[-1])


def test_mlflow_and_wandb_get_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[dict, int]] = []
    begun: list[bool] = []
    mlflow = SimpleNamespace(log_metrics=lambda logs, step: told.append((logs, step)))
    wandb = SimpleNamespace(
        run=None, init=lambda: begun.append(True), log=lambda logs: told.append((logs, -1))
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    _fit(trackers.tracker("mlflow", "run"))
    assert [step for _, step in told] == [0, 1]
    assert all(isinstance(logs["loss"], float) for logs, _ in told)
    told.clear()
    _fit(trackers.tracker("wandb", "run"))
    assert begun == [True]
    assert [logs["epoch"] for logs, _ in told] == [0, 1]


def test_a_tracker_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="`name` must be one of"):
        trackers.tracker("tensorbord", "run")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises((MissingExtraError, ImportError)):
        trackers.tracker("mlflow", "run")
