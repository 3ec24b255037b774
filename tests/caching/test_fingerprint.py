from collections.abc import Callable

import keras
import numpy as np
import pytest

from tlkit.caching import fingerprint
from tlkit.models.flat_graph import flatten

SAMPLE = np.zeros((1, 8, 8, 3), "uint8")


def _model(*, units: int = 4, activation: str = "relu", name: str = "one") -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(units, 3, activation=activation, name=name)(inputs)
    model = keras.Model(inputs, keras.ops.flip(keras.layers.ReLU()(hidden), axis=1))
    for weight in model.weights:
        weight.assign(np.ones(weight.shape))
    return model


def _facts(model: keras.Model, sample: np.ndarray = SAMPLE, dtype: str = "float32") -> dict:
    graph = flatten(model)
    return fingerprint.fingerprint_trunk(graph.steps, graph.outputs, sample=sample, dtype=dtype)


def test_names_and_trainable_flags_do_not_matter() -> None:
    model = _model(name="other")
    model.trainable = False
    assert _facts(model) == _facts(_model())


def _another_weight() -> keras.Model:
    model = _model()
    model.weights[0].assign(model.weights[0] * np.float32(1 + 2e-7))
    return model


@pytest.mark.parametrize(
    "other",
    [
        lambda: _facts(_model(units=5)),
        lambda: _facts(_model(activation="elu")),
        lambda: _facts(_another_weight()),
        lambda: _facts(_model(), SAMPLE.astype("float32")),
        lambda: _facts(_model(), SAMPLE[:, :7]),
        lambda: _facts(_model(), dtype="float16"),
    ],
    ids=["layer", "setting", "last bit of a weight", "pixels", "size", "dtype"],
)
def test_whatever_changes_a_number_does(other: Callable[[], dict]) -> None:
    assert other() != _facts(_model())


def test_another_output_and_another_version_are_other_facts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = flatten(_model())
    first = fingerprint.fingerprint_trunk(
        graph.steps, graph.steps[0].outputs, sample=SAMPLE, dtype="float32"
    )
    last = fingerprint.fingerprint_trunk(graph.steps, graph.outputs, sample=SAMPLE, dtype="float32")
    assert first["columns"] != last["columns"]
    before = _facts(_model())
    monkeypatch.setattr(keras, "__version__", "9.9")
    assert _facts(_model()) != before
