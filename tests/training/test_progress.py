import io
import time

import keras
import numpy as np
import pytest
import rich.console

from tlkit._internal import bars
from tlkit.training.progress import EpochLines


def _fitted(**console: object) -> str:
    page = io.StringIO()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    lines = EpochLines("head", console=rich.console.Console(file=page, width=120, **console))
    images, labels = np.ones((6, 4)), np.zeros(6, int)
    model.fit(images, labels, epochs=2, batch_size=2, callbacks=[lines], verbose=0)
    return page.getvalue()


def test_a_log_gets_one_plain_line_an_epoch() -> None:
    first, *epochs = _fitted().splitlines()
    assert first == "head: training 10 of 10 parameters"
    assert [line.split()[:2] for line in epochs] == [["head", "1/2"], ["head", "2/2"]]
    assert all("accuracy" in line and " % " in line and "loss" in line for line in epochs)
    assert "\x1b" not in "".join(epochs)


def test_a_terminal_also_gets_a_bar() -> None:
    page = _fitted(force_terminal=True)
    assert "\x1b" in page
    assert "━" in page


def test_a_log_gets_a_line_while_the_first_epoch_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bars, "_FIRST_LINE", 0.01)
    lines = EpochLines("head", console=rich.console.Console(file=io.StringIO()))
    lines.set_params({"epochs": 3, "steps": 5})
    lines.on_epoch_begin(0)
    lines.on_train_batch_end(0)
    time.sleep(1)
    lines.close()
    assert capsys.readouterr().err.startswith("head       1/3: 1 of 5")
