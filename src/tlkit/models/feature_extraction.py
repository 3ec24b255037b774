"""Where a head reads a backbone: after which layers, and how their maps become features."""

from collections.abc import Sequence
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.keras_private import flatten_layers, nodes_of
from tlkit.errors import ConfigError
from tlkit.models import flat_graph

Pooling = str | int
"""How maps become features: "avg", "max", "flatten", or the cells a side of a grid of averages."""

POOLINGS = ("avg", "flatten", "max")


def check_pooling(pooling: object) -> Pooling | tuple[Pooling, ...]:
    """Return the pooling, or the poolings, where they are some.

    Raises:
        ConfigError: One is none.
    """
    if isinstance(pooling, tuple | list):
        return tuple(_check_one(each) for each in pooling)
    return _check_one(pooling)


def _check_one(pooling: object) -> Pooling:
    if isinstance(pooling, str):
        return arguments.one_of("pooling", pooling, POOLINGS)
    return arguments.at_least("pooling", pooling, 1)


def tapped(backbone: keras.Model, features: Sequence[str]) -> keras.Model:
    """Return a backbone that ends at the named layers and carries nothing beyond them.

    The layers are the backbone's own, not copies.

    Args:
        backbone: A functional or sequential model.
        features: Names of its layers; with several, the result returns a list, in this order.

    Raises:
        ConfigError: The backbone has no graph, there is no such layer, it is named twice, or it
            gives no maps or features.
    """
    seen = flat_graph.functional_of(backbone)
    if seen is None:
        raise ConfigError(
            f"`features` must be left out with {backbone.name!r}, a {type(backbone).__name__} "
            "whose graph can't be seen: give a functional or sequential model."
        )
    for name in features:
        _check_name(name, seen)
    if not features or len(set(features)) < len(features):
        raise ConfigError(
            f"`features` must be one or more different layer names, got {list(features)}."
        )
    outputs = [_output(seen, name) for name in features]
    return keras.Model(
        seen.inputs, outputs[0] if len(outputs) == 1 else outputs, name=backbone.name
    )


def _check_name(name: str, backbone: Any) -> None:
    names = [layer.name for layer in backbone.layers]
    if name in names:
        return
    for layer in backbone.layers:
        if name in [part.name for part in flatten_layers(layer)[1:]]:
            raise ConfigError(
                f"`features` must be names of layers of {backbone.name}, got {name!r}, which is "
                f"inside its layer {layer.name!r}. Where that is a model, give it as the "
                f"backbone: backbone.get_layer({layer.name!r})."
            )
    raise ConfigError(
        f"`features` must be names of layers of {backbone.name}, got {name!r}."
        f"{arguments.nearest(name, names)} A probe (tlkit.probe) lists the block ends."
    )


def _output(backbone: Any, name: str) -> Any:
    nodes = nodes_of(backbone.get_layer(name), backbone)
    tensors = [tensor for node in nodes for tensor in node.outputs]
    if len(tensors) != 1 or len(tensors[0].shape) not in (2, 4):
        raise ConfigError(
            f"`features` must be layers that give one tensor of maps (batch, height, width, "
            f"channels) or features (batch, features), got {name!r}, which gives "
            f"{[tensor.shape for tensor in tensors]}."
        )
    return tensors[0]


def read(tensors: Any, pooling: Pooling | Sequence[Pooling]) -> Any:
    """Return one feature vector for each image, of a backbone's output or outputs.

    Args:
        tensors: A tensor of maps or features, or a list of them.
        pooling: How maps become features, for all of them or for each.
    """
    several = keras.tree.flatten(tensors)
    single = len(several) == 1
    each = [pooling] * len(several) if isinstance(pooling, str | int) else list(pooling)
    vectors = [
        pooled(tensor, way, name="pooling" if single else f"pooling_{number}")
        for number, (tensor, way) in enumerate(zip(several, each, strict=True), start=1)
    ]
    return vectors[0] if single else keras.layers.Concatenate(name="features")(vectors)


def pooled(maps: Any, pooling: Pooling, *, name: str | None = None) -> Any:
    """Return the features of maps `(batch, height, width, channels)`; features stay as they are.

    A grid has at most `pooling` cells a side, each the average of a square of the map.
    """
    if len(maps.shape) == 2:
        return maps
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(name=name)(maps)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name=name)(maps)
    if None in maps.shape[1:3]:
        raise ConfigError(
            f"`pooling` must be 'avg' or 'max' where the size of the maps is open, got {pooling!r}."
        )
    if pooling != "flatten":
        squares = tuple(-(-side // int(pooling)) for side in maps.shape[1:3])
        if squares != (1, 1):
            grid = None if name is None else f"{name}_grid"
            maps = keras.layers.AveragePooling2D(squares, padding="same", name=grid)(maps)
    return keras.layers.Flatten(name=name)(maps)
