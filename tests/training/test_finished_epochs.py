from pathlib import Path

import keras
import numpy as np
import pytest

from tlkit.training import finished_epochs, trackers

EPOCHS = [{"loss": 2.0, "learning_rate": 0.5}, {"loss": 1.0, "learning_rate": 0.25}]


def test_callbacks_get_each_epoch(model: keras.Model) -> None:
    seen: list[object] = []

    class Watcher(keras.callbacks.Callback):
        def on_train_begin(self, logs: object = None) -> None:
            seen.append(self.model.name)

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            seen.append((epoch, logs))

        def on_train_end(self, logs: object = None) -> None:
            seen.append(logs)

    finished_epochs.notify([Watcher()], model, EPOCHS)
    assert seen == [model.name, *enumerate(EPOCHS), EPOCHS[-1]]


def test_tensorboard_logs_the_learning_rate_of_each_epoch(
    model: keras.Model, tmp_path: Path
) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    model.compile(optimizer="adam", loss="mse")
    finished_epochs.notify([trackers.tracker("tensorboard", tmp_path)], model, EPOCHS)
    rates = [
        float(np.frombuffer(value.tensor.tensor_content, "float32")[0])
        for file in (tmp_path / "train").glob("events.out.*")
        for event in loader.EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if value.tag == "epoch_learning_rate"
    ]
    assert rates == [0.5, 0.25]
