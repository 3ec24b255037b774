from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit.errors import ConfigError
from tlkit.models.builder import accept_any_size
from tlkit.models.inspection import file_shape

IMAGES = make_noise(6)[0]


def test_probabilities_are_the_parts_applied_one_by_one(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    prepared = tlkit.GrayToRGBResize((16, 16))(IMAGES)
    pooled = np.asarray(small_backbone(prepared, training=False)).mean(axis=(1, 2))
    logits = pooled @ model.get_layer("logits").get_weights()[0]  # a new head's bias is zero
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-5)


def test_max_pooling_takes_the_maximum(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone, pooling="max")
    pooled = keras.Model(model.inputs, model.get_layer("pooling").output)
    maps = small_backbone(tlkit.GrayToRGBResize((16, 16))(IMAGES), training=False)
    expected = np.asarray(maps).max(axis=(1, 2))
    np.testing.assert_allclose(pooled.predict(IMAGES, verbose=0), expected, atol=1e-5)


def test_dropout_drops_in_training_only(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone, dropout=0.9)
    plain = model(IMAGES, training=False)
    np.testing.assert_array_equal(plain, model(IMAGES, training=False))
    one, other = (np.asarray(model(IMAGES, training=True)) for _ in range(2))
    assert np.abs(one - other).max() > 1e-3  # the batch's statistics are the same both times


def test_predict_and_call_agree_and_a_plain_call_moves_no_statistic(
    small_backbone: keras.Model,
) -> None:
    model = small_classifier(small_backbone)
    before = [np.array(weight) for weight in model.weights]
    plain = model(IMAGES)
    np.testing.assert_allclose(plain, model.predict(IMAGES, verbose=0), atol=1e-6)
    np.testing.assert_allclose(plain, model(IMAGES, training=False), atol=1e-6)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_known_backbone_is_fed_the_pixels_it_was_trained_on() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), "uint8")
    model = tlkit.build_classifier("resnet50_v2", 2, image_size=32, weights=None)
    fed = keras.Model(model.inputs, model.get_layer("gray_to_rgb_resize").output)
    expected = keras.applications.resnet_v2.preprocess_input(image.astype("float32"))
    np.testing.assert_allclose(fed.predict(image, verbose=0), expected, atol=1e-5)


def test_a_backbone_that_pools_itself_needs_no_pooling(small_backbone: keras.Model) -> None:
    pooled = keras.layers.GlobalAveragePooling2D()(small_backbone.output)
    model = small_classifier(keras.Model(small_backbone.input, pooled))
    assert "pooling" not in [layer.name for layer in model.layers]
    assert model.output_shape == (None, 3)


def test_images_of_any_size_are_accepted_without_an_input_size(
    small_backbone: keras.Model,
) -> None:
    model = small_classifier(small_backbone, input_shape=(None, None, 4))
    for side in (5, 16, 40):
        assert model.predict(np.zeros((1, side, side, 4)), verbose=0).shape == (1, 3)


def test_class_names_are_numbers_by_default(small_backbone: keras.Model) -> None:
    assert tlkit.models.class_names(small_classifier(small_backbone)) == ("0", "1", "2")
    named = small_classifier(small_backbone, class_names=["a", "b", "c"])
    assert tlkit.models.class_names(named) == ("a", "b", "c")


def test_mixed_precision_gives_float32_probabilities(small_backbone: keras.Model) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_classifier(small_backbone)
    finally:
        keras.config.set_dtype_policy("float32")
    probabilities = model.predict(IMAGES, verbose=0)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_classes": 1}, "`num_classes` must be a whole number of at least 2, got 1"),
        ({"class_names": ["a"]}, "`class_names` must have one name for each of the 3 classes"),
        ({"class_names": ["a", "b", "a"]}, r"different names, got \['a'\] more than once"),
        ({"dropout": 1.0}, "`dropout` must be a number of at least 0 and below 1"),
        ({"pooling": "agv"}, r"`pooling` must be one of .*Did you mean 'avg'\?"),
        ({"pixels": None}, "`pixels` must be what the backbone takes if the backbone is a model"),
        ({"pixels": (1, 0)}, r"`pixels` must be a pair \(low, high\)"),
        (
            {"image_size": 8},
            r"`image_size` must be \(16, 16\), what the backbone takes, got \(8, 8\)",
        ),
        ({"weights": None}, "`weights` must be left out if the backbone is a model, got None"),
        ({"input_shape": 28}, "`input_shape` must be a sequence of a whole number, got 28"),
        ({"class_names": 5}, "`class_names` must be a sequence of strings, got 5"),
        ({"backbone": keras.Sequential()}, "must be built, got .* without an input shape"),
        (
            {
                "backbone": "mobilenet_v3_small",
                "backbone_options": {"include_preprocessing": False},
                "weights": None,
            },
            "`backbone_options` must be one of",
        ),
        ({"backbone_options": {"alpha": 1}}, "`backbone_options` must be left out"),
        ({"backbone": 3}, "`backbone` must be a path or a Model, got 3"),
        ({"backbone": "mobilnet_v2"}, "Did you mean .*'mobilenet_v2'"),
        (
            {"backbone": "mobilenet_v2", "image_size": 31},
            "at least 32x32 for mobilenet_v2, got 31x31",
        ),
        ({"input_shape": (9, 9, 2)}, r"1 \(grey\), 3 \(RGB\) or 4"),
    ],
)
def test_a_bad_argument_is_named(
    small_backbone: keras.Model, settings: dict[str, object], words: str
) -> None:
    arguments = {
        "backbone": small_backbone,
        "num_classes": 3,
        "input_shape": (9, 9, 1),
        "pixels": (0, 1),
        **settings,
    }
    with pytest.raises(ValueError, match=words):
        tlkit.build_classifier(arguments.pop("backbone"), arguments.pop("num_classes"), **arguments)


def test_a_backbone_without_an_input_size_requires_one() -> None:
    open_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(
        ConfigError, match="`image_size` must be the size that images are resized to"
    ):
        tlkit.build_classifier(open_size, 2, pixels=(0, 1))
    assert tlkit.build_classifier(open_size, 2, pixels=(0, 1), image_size=8).output_shape == (
        None,
        2,
    )


def test_a_backbone_must_give_maps_or_features() -> None:
    video = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Reshape((4, 4, 3, 1))])
    with pytest.raises(ConfigError, match=r"must return feature maps .*\(None, 4, 4, 3, 1\)"):
        tlkit.build_classifier(video, 2, pixels=(0, 1))


def test_a_model_without_a_nested_backbone_or_names_is_refused() -> None:
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ConfigError, match="exactly one nested backbone"):
        tlkit.models.backbone_of(plain)
    with pytest.raises(ConfigError, match="must have class names"):
        tlkit.models.class_names(plain)


def test_the_seed_fixes_the_head(small_backbone: keras.Model) -> None:
    one, same, other = (
        small_classifier(small_backbone, seed=seed).get_layer("logits").get_weights()[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_classifier_of_images_of_any_size_predicts_the_same_and_reads_files_as_before(
    small_backbone: keras.Model, tmp_path: Path
) -> None:
    fixed = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), input_shape=(12, 10, 3))
    fixed.layers[-1].stored = {"mine": np.arange(3)}
    flexible = accept_any_size(fixed)
    assert tlkit.models.backbone_of(flexible) is tlkit.models.backbone_of(fixed)
    path = tlkit.save(flexible, tmp_path / "model.keras")
    model = tlkit.load(path)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 12, 10, 3), "uint8")
    np.testing.assert_array_equal(tlkit.predict(model, images), tlkit.predict(fixed, images))
    large = random.integers(0, 256, (2, 40, 30, 3), "uint8")
    assert model.predict(large, verbose=0).shape == (2, 3)
    assert model.layers[-1].stored["mine"].tolist() == [0, 1, 2]
    picture = Image.fromarray(random.integers(0, 256, (90, 120, 3), "uint8"))
    np.testing.assert_array_equal(tlkit.predict(model, picture), tlkit.predict(fixed, picture))
    pixels = np.asarray(picture)  # an array goes into the model as it is
    assert np.any(tlkit.predict(model, pixels) != tlkit.predict(model, picture))
    assert file_shape(model) == (None, 12, 10, 3)
    assert accept_any_size(model) is model
