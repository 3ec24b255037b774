import time
import warnings

import keras
import numpy as np
import pytest

import tlkit
from tlkit import Phase, budgeting, freezing


def _data(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 32, 32, 3), "uint8"), np.arange(count) % 3


def _within(model: keras.Model, seconds: float, **settings: object) -> tlkit.PhaseRun | None:
    phase = Phase(freeze=freezing.first(3), **{"epochs": 4000, **settings})
    return budgeting.train_within(
        model, phase, _data(), name="tail", seconds=seconds, seed=0, cache=None, verbose=False
    )


def _model(backbone: keras.Model) -> keras.Model:
    return tlkit.build_classifier(backbone, 3, pixels=(0, 1), seed=0)


def test_as_many_epochs_are_trained_as_fit(small_backbone: keras.Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a busy machine may stop it short
        run = _within(_model(small_backbone), 15.0)
    assert run is not None
    assert 1 < len(run.epochs) < 4000


def test_nothing_changes_where_not_one_epoch_fits(small_backbone: keras.Model) -> None:
    model = _model(small_backbone)
    before = model.get_weights()
    assert _within(model, 0.001) is None
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_a_phase_that_was_misjudged_is_stopped_and_says_so(small_backbone: keras.Model) -> None:
    class Slower(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            Slower.batches += 1
            time.sleep(0.5 if Slower.batches > 10 else 0)

    with pytest.warns(UserWarning, match="'tail' was slower .* stopped in epoch 1 of "):
        run = _within(_model(small_backbone), 12.0, callbacks=(Slower(),), batch_size=1)
    assert run is not None
    assert len(run.epochs) == 1
