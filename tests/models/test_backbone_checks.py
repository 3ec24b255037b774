from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests.samples import small_classifier

import tlkit
from tlkit.errors import ConfigError
from tlkit.models import backbones


def make_backbone(*parts: layers.Layer, name: str | None = None, shape: Any = (16, 16, 3)) -> Any:
    return keras.Sequential([keras.Input(shape), *parts], name=name)


def build(backbone: keras.Model, pixels: Any = (0, 1), **settings: Any) -> keras.Model:
    return tlkit.build_classifier(backbone, 3, pixels=pixels, **settings)


@pytest.fixture
def channels_first() -> Any:
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


FIRST = {"data_format": "channels_first"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_backbone(layers.Conv2D(4, 3, **FIRST), shape=(3, 16, 16)),
        lambda: make_backbone(layers.Conv2D(4, 3, **FIRST)),
        lambda: make_backbone(make_backbone(layers.Conv2D(4, 3), layers.MaxPooling2D(**FIRST))),
        lambda: make_backbone(layers.Permute((3, 1, 2)), layers.Conv2D(4, 3, **FIRST)),
    ],
)
def test_channels_first_layers_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"`backbone` must be channels-last.*'channels_first'"):
        build(make())


def test_a_model_that_turns_images_and_maps_around_itself_is_accepted() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")
    conv = layers.AveragePooling2D(2, **FIRST)
    model = build(make_backbone(layers.Permute((3, 1, 2)), conv, layers.Permute((2, 3, 1))))
    pooled = keras.Model(model.inputs, model.get_layer("pooling").output)(images)
    np.testing.assert_allclose(pooled, images.mean(axis=(1, 2)) / 255, rtol=1e-5)


def test_keras_set_to_channels_first_is_refused(
    small_backbone: keras.Model, channels_first: None
) -> None:
    with pytest.raises(ConfigError, match=r"set_image_data_format\('channels_last'\) first"):
        build(small_backbone)


def test_a_channels_first_input_shape_gets_the_remedy(small_backbone: keras.Model) -> None:
    with pytest.raises(ValueError, match=r"^Images must.*got 9 .*numpy.moveaxis\(images, 1, -1\)"):
        small_classifier(small_backbone, input_shape=(3, 9, 9))


def make_top(*top: layers.Layer) -> keras.Model:
    return make_backbone(layers.Conv2D(4, 3, name="maps"), layers.GlobalAveragePooling2D(), *top)


@pytest.mark.parametrize(
    "top",
    [
        lambda: [layers.Dense(5, activation="softmax")],
        lambda: [layers.Dense(1, activation="sigmoid")],
        lambda: [layers.Dense(5), layers.Softmax(), layers.Dropout(0.1)],
        lambda: [layers.Dense(5), layers.Activation("softmax"), layers.Activation("linear")],
        lambda: [
            layers.Reshape((1, 1, 4)),
            layers.Conv2D(5, 1, activation="softmax"),
            layers.Flatten(),
        ],
    ],
)
def test_a_classifiers_top_is_refused_and_can_be_cut_off(top: Any) -> None:
    backbone = make_top(*top())
    with pytest.raises(ConfigError, match=r"ends in a (softmax|sigmoid) .*features='maps'|Build"):
        build(backbone)
    with pytest.raises(ConfigError, match="it is a classifier. Build it with include_top=False"):
        build(make_backbone(backbone))
    assert build(backbone, features="maps").get_layer("logits").kernel.shape == (4, 3)


def test_keras_applications_with_their_top_are_refused() -> None:
    for family in (keras.applications.MobileNetV2, keras.applications.MobileNetV3Small):
        whole = family(weights=None, input_shape=(32, 32, 3), alpha=0.35)
        with pytest.raises(ConfigError, match=r"a softmax of 1000 values \('predictions'\)"):
            build(whole, pixels=(0, 255))


@pytest.mark.parametrize(
    "top", [[], [layers.Dense(5)], [layers.Dense(5, activation="relu")],
            [layers.Dense(5, activation="sigmoid"), layers.Dense(4)]],
)  # fmt: skip
def test_features_are_no_classifier(top: list[layers.Layer]) -> None:
    assert build(make_top(*top)).output_shape == (None, 3)


@keras.saving.register_keras_serializable("tests")
class WholeClassifier(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool, self.top = layers.GlobalAveragePooling2D(), layers.Dense(5, "softmax")

    def call(self, images: Any) -> Any:
        return self.top(self.pool(images))


def test_the_top_of_a_model_without_a_graph_is_seen() -> None:
    image = keras.Input((16, 16, 3))
    with pytest.raises(ConfigError, match="ends in a softmax of 5 values"):
        build(keras.Model(image, WholeClassifier()(image)))


def test_a_classifier_of_tlkit_is_no_backbone(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    for classifier in (model, make_backbone(model, shape=(9, 9, 1))):
        with pytest.raises(ConfigError, match=r"classifier of tlkit already.*backbone_of\(model\)"):
            build(classifier)


IMAGENET = {"mean": [0.485, 0.456, 0.406], "variance": [0.052, 0.05, 0.051]}


@pytest.mark.parametrize(
    ("first", "right", "wrong"),
    [
        (lambda: layers.Rescaling(1 / 255), (0, 255), [(0, 1), (-1, 1), (0, 16)]),
        (lambda: layers.Rescaling(1 / 127.5, -1), (0, 255), [(0, 1), (-1, 1)]),
        (lambda: layers.Rescaling(2.0, -1.0), (0, 1), [(0, 255), (-1, 1)]),
        (lambda: layers.Rescaling(127.5, 127.5), (-1, 1), [(0, 255), (0, 1)]),
        (lambda: layers.Normalization(**IMAGENET), (0, 1), [(0, 255), backbones.TORCH]),
        (
            lambda: make_backbone(layers.Rescaling(1 / 255), layers.Normalization(**IMAGENET)),
            (0, 255),
            [(0, 1), (-1, 1), backbones.TORCH, backbones.CAFFE],
        ),
    ],
)
def test_pixels_that_the_backbone_would_rescale_again_are_refused(
    first: Any, right: tuple[float, float], wrong: list[Any]
) -> None:
    backbone = make_backbone(first(), layers.Conv2D(4, 3))
    assert build(backbone, right).output_shape == (None, 3)
    for pixels in wrong:
        with pytest.raises(ConfigError, match="rescales pixels itself") as caught:
            build(backbone, pixels)
        assert f"Set pixels={right}." in str(caught.value)


def test_preprocess_input_inside_a_model_is_seen() -> None:
    image = keras.Input((16, 16, 3))
    for prepared in (image / 255, keras.applications.resnet.preprocess_input(image)):
        backbone = keras.Model(image, layers.Conv2D(4, 3)(prepared))
        assert build(backbone, (0, 255)).output_shape == (None, 3)
        with pytest.raises(ConfigError, match=r"Set pixels=\(0, 255\)"):
            build(backbone, (0, 1))


@pytest.mark.parametrize("pixels", [(0, 1), (0, 16), (-1, 1)])
@pytest.mark.parametrize(
    "first", [layers.Rescaling(1.0), layers.Conv2D(3, 1), layers.Rescaling(0.3)]
)
def test_pixels_that_nothing_is_known_about_are_accepted(first: Any, pixels: Any) -> None:
    assert build(make_backbone(first.from_config(first.get_config())), pixels).output_shape[1] == 3


@pytest.mark.parametrize(
    "name", ["image", "logits", "pooling", "pooling_1", "probabilities", "gray_to_rgb_resize"]
)
def test_a_backbone_may_have_the_name_of_a_layer_of_the_classifier(
    name: str, tmp_path: Any
) -> None:
    backbone = make_backbone(layers.Conv2D(4, 3, name="logits"), name=name)
    model = build(backbone, dropout=0.1)
    assert tlkit.models.backbone_of(model).name == f"{name}_backbone"
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), "uint8")
    before = backbone.get_weights()[0].copy()
    tlkit.train_phase(model, tlkit.Phase(epochs=1), (images, np.arange(6) % 3), verbose=False)
    np.testing.assert_array_equal(backbone.get_weights()[0], before)
    loaded = tlkit.load(tlkit.save(model, tmp_path / "m.keras"))
    np.testing.assert_array_equal(tlkit.predict(loaded, images), tlkit.predict(model, images))
