"""What is inside a classifier that build_classifier made."""

from typing import Any

import keras

from tlkit.errors import ConfigError
from tlkit.models.layers import ClassProbabilities, GrayToRGBResize


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the backbone inside a classifier: the one model nested in it.

    Raises:
        ConfigError: No model is nested in it, or several are.
    """
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(nested) != 1:
        raise ConfigError(
            "`model` must have exactly one nested backbone, as build_classifier makes it, "
            f"got {len(nested)}: {[layer.name for layer in nested]}."
        )
    return nested[0]


def class_names(model: keras.Model) -> tuple[str, ...]:
    """Return the class names that a classifier carries, in the order of its outputs.

    Raises:
        ConfigError: The model carries none.
    """
    layer = _only(model, ClassProbabilities)
    if layer is None:
        raise ConfigError(
            "`model` must carry class names, as build_classifier makes it, got "
            f"{model.name!r} without a ClassProbabilities layer."
        )
    return tuple(layer.class_names)


def probabilities_of(model: keras.Model) -> ClassProbabilities:
    """Return a classifier's last layer, which knows its class names and its temperature.

    Raises:
        ConfigError: The model has none.
    """
    class_names(model)
    return _only(model, ClassProbabilities)  # type: ignore[no-any-return]  # it is there


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
    fits = (
        len(trained) == 1
        and isinstance(trained[0], keras.layers.Dense)
        and trained[0].activation is keras.activations.linear
        and trained[0].bias is not None
        and isinstance(model.layers[-1], ClassProbabilities)
    )
    if not fits:
        raise ConfigError(
            "A SolvedHead needs a head of one linear dense layer with a bias, followed by "
            f"ClassProbabilities, got {[layer.name for layer in trained]}. Train this head with a "
            "Phase instead."
        )
    return trained[0]


def value_range(model: keras.Model) -> tuple[float, float] | None:
    """Return what black and white are for a classifier; None where its model does not tell."""
    layer = _only(model, GrayToRGBResize)
    return None if layer is None else layer.input_range


def _only(model: keras.Model, kind: type[keras.Layer]) -> Any:
    found = [layer for layer in model.layers if isinstance(layer, kind)]
    return found[0] if len(found) == 1 else None
