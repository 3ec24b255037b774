import io
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.models import backbones, starter

FILE = Path(starter.__file__).parent / "weights" / "starter.npz"


def _features(backbone: keras.Model, images: np.ndarray) -> np.ndarray:
    layer = tlkit.GrayToRGBResize((32, 32), input_range=(0, 16), output_range=(-1, 1))
    return backbone.predict(layer(images), verbose=0, batch_size=256).mean((1, 2))


def test_it_is_the_network_of_keras_with_the_weights_of_the_file() -> None:
    backbone = backbones.create("mobilenet_v2", weights="starter")
    plain = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    assert backbone.input_shape == (None, 32, 32, 3)
    assert len(backbone.layers) == len(plain.layers) == 154
    with np.load(FILE) as kept:
        assert len(kept.files) == len(plain.weights)
        for layer in backbone.layers:
            for variable in layer.weights:
                values = kept[f"{layer.name}/{variable.name}"]
                assert values.dtype == "float16"
                np.testing.assert_array_equal(variable, values.astype("float32"))


def test_the_file_is_small_and_finite() -> None:
    assert FILE.stat().st_size <= 1_200_000
    with np.load(FILE) as kept:
        assert all(np.isfinite(values).all() for values in kept.values())


@pytest.mark.parametrize("given", [{}, {"alpha": 0.35}, {"alpha": 0.35, "name": "mine"}])
def test_its_alpha_can_be_left_out(given: dict[str, Any]) -> None:
    backbone = backbones.create("mobilenet_v2", image_size=64, weights="starter", options=given)
    assert backbone.count_params() == 410_208
    assert backbone.input_shape == (None, 64, 64, 3)


@pytest.mark.parametrize(
    ("name", "options", "got"),
    [
        ("mobilenet_v2", {"alpha": 1.0}, "got mobilenet_v2, alpha=1.0"),
        ("resnet50", {}, "got resnet50."),
    ],
)
def test_it_exists_for_one_network_only(name: str, options: dict[str, Any], got: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tlkit.build_classifier(name, 10, weights="starter", backbone_options=options)
    assert "can be 'starter' only for mobilenet_v2 with alpha=0.35" in str(caught.value)
    assert got in str(caught.value)


def test_another_network_is_refused_and_not_changed() -> None:
    wide = keras.applications.MobileNetV2((32, 32, 3), alpha=0.5, include_top=False, weights=None)
    before = [weight.copy() for weight in wide.get_weights()]
    with pytest.raises(ConfigError, match="187 weights differ in name or shape, the first"):
        starter.load_weights(wide)
    assert all(map(np.array_equal, before, wide.get_weights()))


def test_a_missing_file_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "_FILES", tmp_path)
    for ask in (starter.card, lambda: backbones.create("mobilenet_v2", weights="starter")):
        with pytest.raises(
            DataError, match="weights/starter.* is missing from the package. Reinstall tlkit"
        ):
            ask()


@pytest.mark.parametrize("damage", ["a bit", "the end", "another file"])
def test_a_damaged_file_is_refused(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(FILE.read_bytes())
    if damage == "a bit":
        content[len(content) // 2] ^= 1
    elif damage == "the end":
        content = content[:-1]
    else:
        other = io.BytesIO()
        np.savez(other, kernel=np.zeros(3))
        content = other.getvalue()
    (tmp_path / "starter.npz").write_bytes(content)
    monkeypatch.setattr(starter, "_FILES", tmp_path)
    with pytest.raises(DataError, match="the installed file is damaged") as caught:
        backbones.create("mobilenet_v2", weights="starter")
    assert "pip install --force-reinstall" in str(caught.value)


@pytest.mark.slow
def test_its_features_separate_digits_better_than_random_ones() -> None:
    """Ridge regression on 1,000 frozen features, without any training by tlkit."""
    digits = tlkit.datasets.digits()
    scores = {}
    for weights in ("starter", None):
        keras.utils.set_random_seed(0)
        backbone = backbones.create(
            "mobilenet_v2", image_size=32, weights=weights, options={"alpha": 0.35}
        )
        head = RidgeClassifier().fit(_features(backbone, digits.train.images), digits.train.labels)
        scores[weights] = head.score(_features(backbone, digits.test.images), digits.test.labels)
    assert scores["starter"] > 0.93
    assert scores["starter"] > scores[None] + 0.1


def test_the_card_states_the_training_data_and_the_limits() -> None:
    card = starter.card()
    assert card.startswith("---\nlibrary_name: keras\nlicense: mit\n")
    for words in ("python -m tools.starter", "seed 0", "minutes", "MIT", "Fashion-MNIST", "photo"):
        assert words in card
    assert not re.search(r"\{\w+", card)  # every figure was filled in
    assert "| MNIST, head only |" in card
