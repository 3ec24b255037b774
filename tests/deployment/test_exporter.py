import json
from pathlib import Path

import keras
import numpy as np
import pytest

import tlkit
from tlkit.deployment import export, exporter, formats
from tlkit.errors import ConfigError, EngineError


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A classifier with what exports get wrong: BatchNormalization, resizing, other pixels."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, 2, padding="same")(inputs)
    x = keras.layers.BatchNormalization()(x)
    backbone = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.ReLU()(x)))
    norm = backbone.layers[2]
    norm.moving_mean.assign(np.linspace(-0.5, 0.5, 8))
    norm.moving_variance.assign(np.linspace(0.1, 2, 8))
    return tlkit.build_classifier(
        backbone,
        3,
        input_shape=(20, 24, 1),
        pixels=tlkit.models.backbones.CAFFE,
        class_names=["a", "b", "c"],
    )


@pytest.mark.parametrize("name", formats.names())
def test_an_exported_file_predicts_what_the_model_does(
    name: str, model: keras.Model, tmp_path: Path
) -> None:
    if name == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    path = export(model, tmp_path / f"model{formats.get(name).EXTENSION}")
    images = np.random.default_rng(1).integers(0, 256, (5, 20, 24, 1), "uint8")
    predicted = formats.get(name).load(path)(images)
    np.testing.assert_allclose(predicted, tlkit.predict(model, images), atol=1e-5)
    facts = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert facts["class_names"] == ["a", "b", "c"]
    assert facts["input"]["dtype"] == "uint8"
    assert facts["largest_difference"] < 1e-4


def test_a_file_that_predicts_something_else_is_not_written(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_compare", lambda *_: 0.01)
    with pytest.raises(EngineError, match=r"within 0.0001, got a probability that is 0.01 off"):
        export(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("model.pt", None, "`path` must end in one of .*tflite.* got .*model.pt"),
        ("model.onnx", "onyx", "`format` must be one of .*Did you mean 'onnx'"),
    ],
)
def test_an_unknown_format_is_refused(
    model: keras.Model, tmp_path: Path, path: str, name: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export(model, tmp_path / path, format=name)
