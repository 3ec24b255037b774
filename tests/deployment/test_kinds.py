"""Classifiers of other kinds in every format; `benchmarks/exports.py` has larger ones."""

from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from tests.samples import skip_without
from tests.tokens import plain_vit

import tlkit
from tlkit.deployment import export, formats
from tlkit.errors import EngineError


def _taps() -> keras.Model:
    return tlkit.build_classifier(
        "mobilenet_v2",
        3,
        input_shape=(30, 26, 3),
        image_size=32,
        weights="starter",
        features=["block_1_expand_relu", "block_3_project_BN"],
        pooling=["max", 2],
    )


def _tokens() -> keras.Model:
    return tlkit.build_classifier(plain_vit(), 3, input_shape=(16, 16, 3), pixels="unit")


def _float16() -> keras.Model:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        backbone = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3)])
        return tlkit.build_classifier(backbone, 3, input_shape=(28, 28), pixels=(0, 1))
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
@pytest.mark.parametrize("build", [_taps, _tokens], ids=["taps", "tokens"])
def test_a_kind_of_classifier_is_proven_in_every_format(
    build: Callable[[], keras.Model], name: str, tmp_path: Path
) -> None:
    skip_without(name)
    keras.utils.set_random_seed(0)
    path = tmp_path / f"model{formats.get(name).EXTENSION}"
    proof = export(build(), path).proof
    assert proof.num_different == 0
    assert proof.largest_difference < 1e-4


@pytest.mark.slow
def test_a_classifier_of_half_precision_is_held_or_refused(tmp_path: Path) -> None:
    skip_without("litert")
    keras.utils.set_random_seed(0)
    model = _float16()
    try:
        found = export(model, tmp_path / "model.tflite")
    except EngineError as error:
        assert "litert" in str(error)
        assert not list(tmp_path.iterdir())
    else:
        assert found.proof.largest_difference < 1e-4


@pytest.mark.slow
def test_plain_keras_with_a_layer_of_the_users_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="it failed: .*could not be deserialized"):
        export(_tokens(), tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())
