"""Backbones in `.keras` files."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError
from tlkit.models import backbones
from tlkit.models.pixels import BYTE, UNIT


@pytest.fixture
def file(small_backbone: keras.Model, tmp_path: Path) -> Path:
    small_backbone.save(tmp_path / "backbone.keras")
    return tmp_path / "backbone.keras"


def test_a_file_gives_its_backbone_with_its_weights(
    file: Path, small_backbone: keras.Model
) -> None:
    model = tlkit.build_classifier(file, 3, pixels="signed", input_shape=(9, 9, 3))
    for one, two in zip(
        tlkit.models.backbone_of(model).get_weights(), small_backbone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    layer = model.get_layer("gray_to_rgb_resize")
    assert (layer.size, layer.output_range) == ((16, 16), (-1, 1))


def test_pixels_of_a_file_are_not_guessed(file: Path) -> None:
    assert backbones.describe(file).pixels is None
    with pytest.raises(ConfigError, match="if neither a file nor its first layers say so, as"):
        tlkit.build_classifier(str(file), 3)


@pytest.mark.parametrize(
    ("scale", "offset", "expected"), [(1 / 255, 0, BYTE), (1 / 127.5, -1, BYTE), (2, -1, UNIT)]
)
def test_pixels_are_found_from_layers_that_rescale_them(
    scale: float, offset: float, expected: object, tmp_path: Path
) -> None:
    image = keras.Input((8, 8, 3))
    rescaled = keras.layers.Rescaling(scale, offset, name="rescaling")(image)
    keras.Model(image, keras.layers.Conv2D(2, 3)(rescaled)).save(tmp_path / "a.keras")
    source = backbones.describe(tmp_path / "a.keras")
    assert (source.pixels, source.pixels_from) == (
        expected,
        "found from its first layers: rescaling",
    )
    with pytest.raises(ConfigError, match="rescales pixels itself"):
        tlkit.build_classifier(tmp_path / "a.keras", 2, pixels="signed")


def test_a_familiar_name_is_a_hint_and_no_more(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="mobilenetv2_1.00_160")
    model.save(tmp_path / "a.keras")
    with pytest.raises(ConfigError, match="named like mobilenet_v2, .* take values from -1 to 1"):
        backbones.describe(tmp_path / "a.keras").require_pixels()


def save_text(path: Path) -> None:
    path.write_text("<html>")


def save_nothing(path: Path) -> None:
    path.write_bytes(b"")


def save_cut(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).save(path)
    path.write_bytes(path.read_bytes()[:-200])


def save_classifier(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, name="conv")(image))
    keras.Model(image, keras.layers.Dense(4, "softmax")(pooled)).save(path)


def save_of_tlkit(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    backbone = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    tlkit.save(tlkit.build_classifier(backbone, 2, pixels="unit"), path)


def save_grey(path: Path) -> None:
    image = keras.Input((8, 8, 1))
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).save(path)


def save_lambda(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Lambda(lambda x: x + 1)(image)).save(path)


class Unregistered(keras.layers.Layer):
    def call(self, images: object) -> object:
        return images


def save_custom(path: Path) -> None:
    image = keras.Input((8, 8, 3))
    keras.Model(image, Unregistered()(image)).save(path)


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (save_text, "it is a web page or XML"),
        (save_nothing, "it is empty"),
        (save_cut, "it is cut short"),
        (save_classifier, "ends in a softmax of 4 values"),
        (save_of_tlkit, r"a classifier of tlkit. Store its backbone: .*backbone_of\(tlkit.load"),
        (save_grey, "one input of shape .batch, height, width, 3."),
        (save_lambda, "[Ll]ambda"),
        (save_custom, "the class 'Unregistered', which is not registered here"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_is_no_backbone_is_refused(
    save: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    save(tmp_path / "a.keras")
    with pytest.raises(ConfigError, match=message):
        backbones.describe(tmp_path / "a.keras")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("backbon.keras", "no such file. Did you mean 'backbone.keras'"),
        ("mine.weights.h5", "Weights go in `weights`, with the name of their backbone"),
        ("notes.txt", "must be a .keras file"),
    ],
)
def test_another_file_is_refused(name: str, message: str, file: Path) -> None:
    if name != "backbon.keras":
        (file.parent / name).write_text("x")
    with pytest.raises(ConfigError, match=message):
        backbones.create(file.parent / name)


def test_a_file_has_its_own_weights_size_and_options(file: Path) -> None:
    for settings, name in (
        ({"weights": "starter"}, "weights"),
        ({"weights": None}, "weights"),
        ({"options": {"alpha": 1}}, "backbone_options"),
        ({"image_size": 20}, "image_size"),
    ):
        with pytest.raises(ConfigError) as caught:
            backbones.create(file, **settings)
        assert caught.value.argument == name


def test_a_file_of_any_size_needs_one(tmp_path: Path) -> None:
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).save(tmp_path / "a.keras")
    with pytest.raises(ConfigError, match="takes any size") as caught:
        backbones.describe(tmp_path / "a.keras")
    assert caught.value.argument == "image_size"
    assert backbones.describe(tmp_path / "a.keras", image_size=9).image_size == (9, 9)
