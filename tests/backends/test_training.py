"""Training on the backend that KERAS_BACKEND names, against plain Keras on the same backend."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.backends.conftest import DATA, FINE_TUNE, HEAD, HELD_OUT, SEED, Train

import tlkit
from tlkit import Cache, SolvedHead
from tlkit.errors import ConfigError, TrainingInterrupted
from tlkit.models.inspection import backbone_of
from tlkit.training import Run

Plain = tuple[keras.Model, dict[str, list[float]]]


@pytest.fixture(scope="module")
def plain(untrained: Path) -> Plain:
    """The classifier trained in two phases without tlkit's trainer, and Keras' history."""
    model = tlkit.load(untrained)
    backbone = backbone_of(model)
    history: dict[str, list[float]] = {}
    for order, phase in enumerate((HEAD, FINE_TUNE)):
        keras.utils.set_random_seed(SEED + order)
        backbone.trainable = order == 1
        for layer in backbone.layers:
            is_frozen = isinstance(layer, keras.layers.BatchNormalization) or layer.name == "stem"
            layer.trainable = order == 1 and not is_frozen
        model.compile(
            optimizer=keras.optimizers.Adam(phase.learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        fitted = model.fit(
            *DATA,
            batch_size=phase.batch_size,
            epochs=phase.epochs,
            validation_data=HELD_OUT,
            verbose=0,
        )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
    return model, history


def test_without_a_cache_it_is_plain_keras_bit_for_bit(plain: Plain, train: Train) -> None:
    expected, history = plain
    model, run = train(None)
    for name, values in history.items():
        np.testing.assert_array_equal(run.history[name], values)
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_with_a_cache_it_is_plain_keras_but_for_rounding(
    plain: Plain, cached: tuple[keras.Model, Run]
) -> None:
    expected, history = plain
    model, run = cached
    assert [phase.trunk.num_computed for phase in run.phases] == [64, 64]
    for name, values in history.items():
        np.testing.assert_allclose(run.history[name], values, rtol=1e-5)
    # the frozen part ran in batches of another size, which rounds otherwise
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


class _Interrupt(keras.callbacks.Callback):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.at:
            raise KeyboardInterrupt


def test_an_interrupted_training_ends_as_one_that_was_not_bit_for_bit(
    cached: tuple[keras.Model, Run], train: Train, tmp_path: Path
) -> None:
    cache = Cache(engine="keras", rewrites=False)
    stopped, whole = (replace(FINE_TUNE, callbacks=(_Interrupt(at),)) for at in (1, 99))
    with pytest.raises(TrainingInterrupted, match="after 1 of 2 epochs"):
        train(cache, fine_tune=stopped, checkpoint=tmp_path / "state")
    model, run = train(cache, fine_tune=whole, checkpoint=tmp_path / "state")
    assert run.history["loss"] == cached[1].history["loss"]
    for one, other in zip(model.get_weights(), cached[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_head_is_solved(train: Train, solver: str) -> None:
    _, run = train(Cache(), head=SolvedHead(solver=solver), fine_tune=None)
    assert run.history["accuracy"][-1] > 0.8


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow has the others")
@pytest.mark.parametrize("engine", ["litert", "onnxruntime", "openvino"])
def test_an_engine_of_tensorflow_is_refused_with_the_one_to_use(train: Train, engine: str) -> None:
    message = f"engine='{engine}' needs Keras' TensorFlow backend, got .* Use engine=\"keras\""
    with pytest.raises(tlkit.errors.EngineError, match=message):
        train(Cache(engine=engine), fine_tune=None)


def test_channels_first_is_refused_with_what_to_call(untrained: Path) -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ConfigError, match=r"must be 'channels_last'.*set_image_data_format"):
            tlkit.build_classifier("mobilenet_v2", 3, weights=None)
        images = DATA[0][:4]
        rows = tlkit.predict(tlkit.load(untrained), images)  # a finished classifier does not ask
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(rows, tlkit.predict(tlkit.load(untrained), images))
