"""Where a head reads a backbone: after which layers, and how feature maps become features."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras

from tlkit._internal import arguments
from tlkit._internal.keras_private import flatten_layers, nodes_of
from tlkit.errors import ConfigError
from tlkit.models import flat_graph

_PoolingName = Literal["avg", "flatten", "max"]

Pooling = _PoolingName | int
"""How maps become features: by name, or as a grid of averages with so many cells along a side."""


_LAYOUT = "channels_last"  # whatever Keras' default is when the head is built


def check_pooling(pooling: object) -> Pooling | tuple[Pooling, ...]:
    """Return one pooling, or a tuple of them.

    Raises:
        ConfigError: A pooling is unknown.
    """
    if isinstance(pooling, tuple | list):
        return tuple(_check_one(each) for each in pooling)
    return _check_one(pooling)


def _check_one(pooling: object) -> Pooling:
    if isinstance(pooling, str):
        name: _PoolingName = arguments.one_of("pooling", pooling, get_args(_PoolingName))
        return name
    return arguments.at_least("pooling", pooling, 1)


def truncate(backbone: keras.Model, features: Sequence[str]) -> keras.Model:
    """Return a backbone that ends at the named layers, without the layers after them.

    It shares its layers with the backbone: nothing is copied.

    Args:
        backbone: A functional or sequential model.
        features: Names of its layers. With several, the result returns a list in this order.

    Raises:
        ConfigError: The backbone has no graph, has no such layer, a name is repeated, or a layer
            returns neither feature maps nor features.
    """
    functional = flat_graph.functional_of(backbone)
    if functional is None:
        raise ConfigError(
            f"`features` must be left out with {backbone.name!r}, a {type(backbone).__name__} "
            "without a graph. Pass a functional or sequential model to choose its layers."
        )
    for name in features:
        _check_name(name, functional)
    if not features or len(set(features)) < len(features):
        raise ConfigError(
            f"`features` must be one or more different layer names, got {list(features)}."
        )
    outputs = [_output(functional, name) for name in features]
    return keras.Model(
        functional.inputs, outputs[0] if len(outputs) == 1 else outputs, name=backbone.name
    )


def _check_name(name: str, backbone: Any) -> None:
    names = [layer.name for layer in backbone.layers]
    if name in names:
        return
    for layer in backbone.layers:
        if name in [part.name for part in flatten_layers(layer)[1:]]:
            raise ConfigError(
                f"`features` must be names of layers of {backbone.name}, got {name!r}, which is "
                f"inside its layer {layer.name!r}. If that is a model, pass it as the "
                f"backbone: backbone.get_layer({layer.name!r})."
            )
    raise ConfigError(
        f"`features` must be names of layers of {backbone.name}, got {name!r}."
        f"{arguments.nearest(name, names)} tlkit.probe lists the layers that are worth reading."
    )


def _output(backbone: Any, name: str) -> Any:
    nodes = nodes_of(backbone.get_layer(name), backbone)
    tensors = [tensor for node in nodes for tensor in node.outputs]
    if len(tensors) != 1 or len(tensors[0].shape) not in (2, 4):
        raise ConfigError(
            "`features` must be layers that return one tensor of maps (batch, height, width, "
            f"channels) or features (batch, features), got {name!r}, which returns "
            f"{[tensor.shape for tensor in tensors]}."
        )
    return tensors[0]


def concatenate_features(tensors: Any, pooling: Pooling | Sequence[Pooling]) -> Any:
    """Return one feature vector for each image from a backbone's output or outputs.

    Args:
        tensors: A tensor of maps or features, or a list of them.
        pooling: How maps become features: one way for all tensors, or one for each.
    """
    several = keras.tree.flatten(tensors)
    single = len(several) == 1
    each = [pooling] * len(several) if isinstance(pooling, str | int) else list(pooling)
    vectors = [
        pool(tensor, way, name="pooling" if single else f"pooling_{number}")
        for number, (tensor, way) in enumerate(zip(several, each, strict=True), start=1)
    ]
    return vectors[0] if single else keras.layers.Concatenate(name="features")(vectors)


def pool(maps: Any, pooling: Pooling, *, name: str | None = None) -> Any:
    """Return the features of maps `(batch, height, width, channels)`.

    Features `(batch, features)` are returned unchanged. A grid has at most `pooling` cells along
    each side, and each cell is the average of a square of the map.
    """
    if len(maps.shape) == 2:
        return maps
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(_LAYOUT, name=name)(maps)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(_LAYOUT, name=name)(maps)
    if None in maps.shape[1:3]:
        raise ConfigError(
            "`pooling` must be 'avg' or 'max' for maps of unknown height and width, "
            f"got {pooling!r}."
        )
    if pooling != "flatten":
        squares = tuple(-(-side // int(pooling)) for side in maps.shape[1:3])
        if squares != (1, 1):
            grid = None if name is None else f"{name}_grid"
            maps = keras.layers.AveragePooling2D(
                squares, padding="same", data_format=_LAYOUT, name=grid
            )(maps)
    return keras.layers.Flatten(_LAYOUT, name=name)(maps)
