import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlkit import trackers
from tlkit.errors import ConfigError, MissingExtraError


def _fit(callback: keras.callbacks.Callback) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    x = np.ones((4, 2), "float32")
    model.fit(x, x[:, :1], epochs=2, callbacks=[callback], verbose=0)


def test_tensorboard_writes_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    _fit(trackers.tracker("tensorboard", tmp_path))
    assert list((tmp_path / "tensorboard").rglob("events.out.*"))


def test_mlflow_and_wandb_get_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
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
