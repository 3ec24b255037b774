"""Find the parts of a classifier: its backbone, its head, its class names and its value range."""

from typing import TypeVar

import keras
import numpy as np

from tlkit._internal.signatures import check_arguments
from tlkit.errors import ConfigError
from tlkit.models.layers import ClassProbabilities, GrayToRGBResize

_Layer = TypeVar("_Layer", bound=keras.Layer)


@check_arguments
def backbone_of(model: keras.Model) -> keras.Model:
    """Return the backbone of a classifier, the only model that is nested in it.

    Raises:
        ConfigError: The classifier has no nested model, or several.
    """
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(nested) != 1:
        raise ConfigError(
            "`model` must have exactly one nested backbone, as build_classifier returns it, "
            f"got {len(nested)}: {[layer.name for layer in nested]}."
        )
    return nested[0]


@check_arguments
def class_names(model: keras.Model) -> tuple[str, ...]:
    """Return the class names of a classifier, in the order of its outputs.

    Raises:
        ConfigError: The model has no class names.
    """
    return tuple(probabilities_of(model).class_names)


@check_arguments
def is_multi_label(model: keras.Model) -> bool:
    """Return whether an image can have several classes of a classifier, or none.

    Raises:
        ConfigError: The model has no class names.
    """
    return bool(probabilities_of(model).multi_label)


@check_arguments
def thresholds(model: keras.Model) -> np.ndarray:
    """Return the threshold of each class, `(classes,)`: the least probability of an image's class.

    Raises:
        ConfigError: The classes of the model exclude each other.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> thresholds(build_classifier(backbone, 3, pixels=(0, 1), multi_label=True)).tolist()
        [0.5, 0.5, 0.5]
    """
    layer = probabilities_of(model)
    if not layer.multi_label:
        raise ConfigError(
            "`model` must be a multi-label classifier to have thresholds, got one whose classes "
            "exclude each other. An image is of the most probable class."
        )
    return np.asarray(layer.thresholds or [0.5] * len(layer.class_names))


def probabilities_of(model: keras.Model) -> ClassProbabilities:
    """Return the last layer of a classifier, which stores its class names and its temperature.

    Raises:
        ConfigError: The model has no such layer.
    """
    layer = _find_layer(model, ClassProbabilities)
    if layer is None:
        raise ConfigError(
            "`model` must have class names, as build_classifier returns it, got "
            f"{model.name!r} without a ClassProbabilities layer."
        )
    return layer


def head_of(model: keras.Model) -> keras.layers.Dense:
    """Return the head's linear dense layer, whose outputs become the probabilities.

    Raises:
        ConfigError: The head has other layers with weights, or is not linear.
    """
    trained = [
        layer
        for layer in model.layers
        if layer.weights and not isinstance(layer, keras.Model | keras.layers.Normalization)
    ]
    is_solvable = (
        len(trained) == 1
        and isinstance(trained[0], keras.layers.Dense)
        and trained[0].activation is keras.activations.linear
        and trained[0].bias is not None
        and isinstance(model.layers[-1], ClassProbabilities)
    )
    if not is_solvable:
        raise ConfigError(
            "A SolvedHead needs a head of one linear dense layer with a bias, followed by "
            f"ClassProbabilities, got {[layer.name for layer in trained]}. Train this head with a "
            "Phase instead."
        )
    return trained[0]


def features_of(model: keras.Model) -> keras.Model:
    """Return a model from a classifier's images to the features that its head reads.

    Raises:
        ConfigError: The head is not one linear dense layer.
    """
    try:
        head = head_of(model)
    except ConfigError as error:
        raise ConfigError(
            "`model` must have a head of one linear dense layer, which reads the features, as "
            "build_classifier returns it."
        ) from error
    return keras.Model(model.inputs[0], head.input, name="features")


def value_range(model: keras.Model) -> tuple[float, float] | None:
    """Return a classifier's values of black and white; None if it has no resizing layer."""
    layer = _find_layer(model, GrayToRGBResize)
    return None if layer is None else layer.input_range


def file_shape(model: keras.Model) -> tuple[int | None, ...]:
    """Return the shape of a batch of images that tlkit decodes from files for a classifier.

    It is the shape of the classifier's input; if that accepts any size, it has the size of the
    training images.
    """
    shape = tuple(model.input_shape)
    layer = _find_layer(model, GrayToRGBResize)
    if layer is None or layer.file_size is None or None not in shape[1:3]:
        return shape
    return (shape[0], *layer.file_size, *shape[3:])


def _find_layer(model: keras.Model, layer_type: type[_Layer]) -> _Layer | None:
    found = [layer for layer in model.layers if isinstance(layer, layer_type)]
    return found[0] if len(found) == 1 else None
