"""What every layer of tlkit, and every family of keras.applications under it, must keep to."""

import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.tokens import hub_backbone, make_spots

import tlkit
from tlkit import GrayToRGBResize, Phase, TwoPhaseTrainer, freezing
from tlkit.models import BackboneSpec, ClassProbabilities, backbones

LAYERS: dict[type[keras.layers.Layer], dict[str, Any]] = {
    GrayToRGBResize: {
        "size": (8, 9),
        "input_range": (-1.0, 1.0),
        "output_range": (0.0, 255.0),
        "interpolation": "nearest",
        "alpha": "black",
        "file_size": (9, 7),
    },
    ClassProbabilities: {
        "class_names": ("cat", "dog", "eel"),
        "temperature": 2.0,
        "multi_label": True,
        "thresholds": (0.2, 0.5, 0.9),
    },
}
"""A value for every argument, none of them the default."""

SPECS = {name: backbones.get(name) for name in backbones.names()}

FAMILIES = {spec.family: spec.name for spec in reversed(backbones.TABLE)}
"""For each family of backbones its first row, the smallest one."""

SLOW = (
    "densenet",
    "efficientnet",
    "inception_resnet_v2",
    "inception_v3",
    "mobilenet_v3",
    "nasnet",
    "resnet",
    "vgg19",
    "xception",
)
"""Families that take long, or that are built of the same blocks as another one."""

SMALLER = {"mobilenet": {"alpha": 0.25}, "mobilenet_v2": {"alpha": 0.35}}
"""Options that make the smallest of a family smaller still."""


@pytest.fixture
def cleared_session() -> Iterator[None]:
    yield
    keras.backend.clear_session()


@pytest.fixture
def without_graphs() -> Iterator[None]:
    """Runs what Keras compiles line by line: tracing big models takes most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_every_public_layer_has_a_row() -> None:
    public = [getattr(tlkit.models, name) for name in tlkit.models.__all__]
    layers = {each for each in public if inspect.isclass(each) and issubclass(each, keras.Layer)}
    assert layers == LAYERS.keys()


@pytest.mark.parametrize(("cls", "arguments"), LAYERS.items())
def test_the_config_names_every_argument(
    cls: type[keras.layers.Layer], arguments: dict[str, Any]
) -> None:
    signature = inspect.signature(cls).parameters
    assert signature.keys() - {"kwargs"} == arguments.keys()
    assert all(arguments[name] != signature[name].default for name in arguments)
    config = cls(**arguments).get_config()
    assert arguments.keys() <= config.keys()
    assert {name: config[name] for name in arguments} == {
        name: list(value) if name in ("class_names", "thresholds") else value
        for name, value in arguments.items()
    }


@pytest.mark.parametrize(("cls", "arguments"), LAYERS.items())
def test_a_config_rebuilds_an_equal_layer_even_from_json(
    cls: type[keras.layers.Layer], arguments: dict[str, Any]
) -> None:
    layer = cls(**arguments, name="mine", trainable=False)
    config = layer.get_config()
    for rebuilt in (cls.from_config(config), cls.from_config(json.loads(json.dumps(config)))):
        assert {name: getattr(rebuilt, name) for name in arguments} == arguments
        assert rebuilt.name == "mine"
        assert rebuilt.trainable is False
        assert rebuilt.dtype_policy == layer.dtype_policy


def test_a_dtype_policy_survives_the_config() -> None:
    layer = GrayToRGBResize(8, dtype="mixed_bfloat16")
    assert GrayToRGBResize.from_config(layer.get_config()).compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (GrayToRGBResize, "tlkit>GrayToRGBResize"),
        (ClassProbabilities, "tlkit>ClassProbabilities"),
    ],
)
def test_the_registered_name_is_a_file_format(cls: type[keras.layers.Layer], name: str) -> None:
    assert keras.saving.get_registered_name(cls) == name
    assert keras.saving.get_registered_object(name) is cls
    assert keras.saving.serialize_keras_object(cls(**LAYERS[cls]))["registered_name"] == name


def test_every_model_of_keras_applications_has_a_name() -> None:
    constructors = {value for value in vars(keras.applications).values() if callable(value)}
    assert {spec.constructor for spec in SPECS.values()} >= constructors


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_pixels_are_those_of_the_familys_own_preprocessing(spec: BackboneSpec) -> None:
    inputs = keras.Input((8, 8, 3))
    identity = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model = tlkit.build_classifier(identity, 2, input_shape=(8, 8, 3), pixels=spec.pixels)
    entering = keras.Model(model.inputs, model.get_layer("pooling").input)
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    module = importlib.import_module(f"keras.applications.{spec.family}")
    expected = module.preprocess_input(images.copy())
    np.testing.assert_allclose(entering([images]), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_one_pixel_less_than_the_smallest_size_is_refused_by_keras(spec: BackboneSpec) -> None:
    size = spec.min_size
    with pytest.raises(ValueError, match=f"must be at least {size}x{size}"):
        spec.constructor(weights=None, include_top=False, input_shape=(size - 1, size - 1, 3))


@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly")
@pytest.mark.parametrize(
    "family",
    [pytest.param(each, marks=pytest.mark.slow) if each in SLOW else each for each in FAMILIES],
)
def test_every_family_trains_saves_and_predicts_the_same(
    family: str, tmp_path: Path, without_graphs: None, cleared_session: None
) -> None:
    check_family(family, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mobilenet_v2", "vgg16"])
def test_a_family_does_the_same_compiled(
    family: str, tmp_path: Path, cleared_session: None
) -> None:
    check_family(family, tmp_path)


def check_family(family: str, folder: Path) -> None:
    name = FAMILIES[family]
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 1), dtype="uint8")
    model = tlkit.build_classifier(
        name,
        3,
        input_shape=(None, None, 1),
        image_size=SPECS[name].min_size,
        weights=None,
        backbone_options=SMALLER.get(family),
    )
    norms = freezing.find_batchnorm(tlkit.models.backbone_of(model))
    tlkit.training.batchnorm.reestimate(model, norms, [images])
    half = freezing.first_fraction(0.5)
    if family != "nasnet":  # each of its cells takes two before it: it is all one block
        half = freezing.to_block_end(half)
    trainer = TwoPhaseTrainer(
        head=Phase(epochs=1),
        fine_tune=Phase(epochs=1, learning_rate=1e-3, freeze=half, batchnorm="train"),
        seed=0,
    )
    run = trainer.fit(model, (images, np.array([0, 1, 2, 0])), verbose=False)
    # the weights and the bias of the head; predictions as wrong as can be may leave the bias alone
    assert run.phases[0].movement.moved in (1, 2)
    assert run.phases[1].movement.moved > 2

    predicted = model.predict(images, batch_size=4, verbose=0)
    again = tlkit.load(tlkit.save(model, folder / "model.keras"))
    np.testing.assert_array_equal(again.predict(images, batch_size=4, verbose=0), predicted)

    before = [np.array(variable) for variable in model.non_trainable_variables]
    called = keras.ops.convert_to_numpy(model(images))
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(model(images, training=False), called)
    # random weights blow up the last bits in which graph and eager kernels differ, to 1e-4 here;
    # a model that runs in training mode is off by far more than 1e-3
    np.testing.assert_allclose(called, predicted, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["dinov2", *(pytest.param(each, marks=pytest.mark.slow) for each in ("vit", "siglip"))]
)
def test_every_token_backbone_trains_saves_and_predicts_the_same(name: str, tmp_path: Path) -> None:
    images, labels = make_spots(8)
    model = tlkit.build_classifier(hub_backbone(name), 3, pixels=(-1, 1), seed=0)
    trainer = TwoPhaseTrainer(
        head=Phase(epochs=1),
        fine_tune=Phase(epochs=1, learning_rate=1e-3, freeze=freezing.first_blocks(2)),
        seed=0,
    )
    run = trainer.fit(model, (images, labels), verbose=False)
    assert run.phases[0].movement.moved == 2
    assert run.phases[1].movement.moved > 2
    predicted = model.predict(images, verbose=0)
    again = tlkit.load(tlkit.save(model, tmp_path / "model.keras"))
    np.testing.assert_array_equal(again.predict(images, verbose=0), predicted)
    np.testing.assert_allclose(model(images, training=False), predicted, rtol=0, atol=1e-5)
