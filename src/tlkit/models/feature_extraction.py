"""Choose the backbone's layers that the head reads, and pool maps and tokens into features."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras

from tlkit._internal import arguments
from tlkit._internal.keras_private import flatten_layers, nodes_of
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError
from tlkit.models import flat_graph
from tlkit.models.token_backbone import TokenBackbone, TokenLayout

_PoolingName = Literal["average", "avg", "cls", "cls+average", "cls+avg", "flatten", "max"]

Pooling = _PoolingName | int
"""How maps or tokens become features: by name, or n for a grid of n x n averages.

"average" is the same as "avg". "cls" is the class token of a backbone that returns tokens; all
others apply to its patches.
"""


_LAYOUT = "channels_last"  # independent of Keras' default when the head is built
_SHORT: dict[str, _PoolingName] = {"average": "avg", "cls+average": "cls+avg"}


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
        return _SHORT.get(name, name)
    return arguments.at_least("pooling", pooling, 1)


def truncate(backbone: keras.Model, features: Sequence[str]) -> keras.Model:
    """Return a backbone that ends at the named layers, without the layers after them.

    The result shares its layers with the backbone; no layer is copied.

    Args:
        backbone: A functional or sequential model.
        features: Names of its layers. With several, the result returns a list in this order.

    Raises:
        ConfigError: The backbone has no graph or no such layer, a name is repeated, or the output
            of a layer is neither maps, tokens nor features.
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
    if isinstance(backbone, TokenBackbone):
        return backbone.truncate(features)
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
                f"`features` must be names of layers of {backbone.name}, "
                f"got {show(name)}, which is "
                f"inside its layer {layer.name!r}. If that is a model, pass it as the "
                f"backbone: backbone.get_layer({layer.name!r})."
            )
    raise ConfigError(
        f"`features` must be names of layers of {backbone.name}, got {show(name)}."
        f"{arguments.nearest(name, names)} tlkit.probe lists the layers that are worth reading."
    )


def _output(backbone: Any, name: str) -> Any:
    nodes = nodes_of(backbone.get_layer(name), backbone)
    tensors = [tensor for node in nodes for tensor in node.outputs]
    if not tensors or len(nodes) != 1 or len(tensors[0].shape) not in (2, 3, 4):
        raise ConfigError(
            "`features` must be layers that are called once and return maps (batch, height, "
            "width, channels), tokens (batch, tokens, features) or features (batch, features), "
            f"got {show(name)}, which returns {[tensor.shape for tensor in tensors]}."
        )
    return tensors[0]


def concatenate_features(
    backbone: keras.Model, images: Any, pooling: Pooling | Sequence[Pooling] | None
) -> Any:
    """Return one feature vector for each image from the outputs of a backbone.

    Args:
        backbone: The backbone.
        images: The backbone's input, a symbolic tensor or an array.
        pooling: How maps and tokens become features: one pooling for all outputs, or one for each.
            None uses the class token, or the average if the backbone has no class token.
    """
    several = keras.tree.flatten(backbone(images))
    single = len(several) == 1
    each = [pooling] * len(several) if isinstance(pooling, str | int | None) else list(pooling)
    layouts = [layout_of(backbone, tensor.shape) for tensor in several]
    vectors = [
        pool(tensor, way, layout=layout, name="pooling" if single else f"pooling_{number}")
        for number, (tensor, way, layout) in enumerate(
            zip(several, each, layouts, strict=True), start=1
        )
    ]
    return vectors[0] if single else keras.layers.Concatenate(name="features")(vectors)


def layout_of(backbone: keras.Model, shape: Sequence[int | None]) -> TokenLayout | None:
    """Return which tokens of a tensor are patches; None if the tensor has no tokens."""
    has_tokens = len(shape) == 3 and isinstance(backbone, TokenBackbone)
    return backbone.layout(shape) if has_tokens else None


def pool(
    tensor: Any,
    pooling: Pooling | None = None,
    *,
    layout: TokenLayout | None = None,
    name: str | None = None,
) -> Any:
    """Return the features of maps `(batch, height, width, channels)` or tokens.

    Features `(batch, features)` are returned unchanged. A grid has at most `pooling` cells along
    each side, and each cell is the average of a square of the map, or of the patches.

    Args:
        tensor: The maps, the tokens `(batch, tokens, features)` or the features.
        pooling: How they become features; None uses the class token or else the average.
        layout: Which tokens are patches; None for maps.
        name: The name of the layer that returns the features.

    Raises:
        ConfigError: The pooling is impossible for this tensor.
    """
    if len(tensor.shape) == 2:
        return tensor
    if layout is not None:
        return _pool_tokens(tensor, pooling, layout, name=name)
    if pooling in ("cls", "cls+avg"):
        raise ConfigError(
            f"`pooling` must be 'avg', 'max', 'flatten' or a number for maps, got {show(pooling)}: "
            "only backbones that return tokens, such as a ViT, have a class token."
        )
    return _pool_maps(tensor, pooling or "avg", name=name)


def _pool_tokens(
    tokens: Any, pooling: Pooling | None, layout: TokenLayout, *, name: str | None
) -> Any:
    num_prefix, num_tokens = layout.num_prefix_tokens, tokens.shape[1]
    if num_prefix is None or num_tokens is None:
        raise ConfigError(
            Argument("num_prefix_tokens"),
            " must be the number of tokens before the patches (1 for a class token alone), got "
            f"None. It can't be found for the {num_tokens} tokens of this backbone.",
        )
    if pooling is None:
        pooling = "cls" if num_prefix else "avg"
    if pooling == "cls+avg":
        class_token = _pool_tokens(tokens, "cls", layout, name=name and f"{name}_class_token")
        average = _pool_tokens(tokens, "avg", layout, name=name and f"{name}_average")
        return keras.layers.Concatenate(name=name)([class_token, average])
    if pooling == "cls" and not num_prefix:
        raise ConfigError(
            "`pooling` must be 'avg', 'max', 'flatten' or a number, got 'cls': all tokens of this "
            "backbone are patches."
        )
    kept = (0, num_tokens - 1) if pooling == "cls" else (num_prefix, 0)
    if any(kept):
        tokens = keras.layers.Cropping1D(kept, name=name and f"{name}_tokens")(tokens)
    if pooling == "cls":
        return keras.layers.Flatten(name=name)(tokens)
    shape = (1, num_tokens - num_prefix) if pooling in ("avg", "max") else layout.grid
    if shape is None:
        raise ConfigError(
            f"`pooling` must be 'cls', 'avg' or 'max', "
            f"got {show(pooling)}: the rows and columns of "
            f"this backbone's {num_tokens - num_prefix} patches are unknown."
        )
    maps = keras.layers.Reshape((*shape, tokens.shape[-1]), name=name and f"{name}_maps")(tokens)
    return _pool_maps(maps, pooling, name=name)


def _pool_maps(maps: Any, pooling: Pooling, *, name: str | None) -> Any:
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(_LAYOUT, name=name)(maps)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(_LAYOUT, name=name)(maps)
    if None in maps.shape[1:3]:
        raise ConfigError(
            "`pooling` must be 'avg' or 'max' for maps of unknown height and width, "
            f"got {show(pooling)}."
        )
    if pooling != "flatten":
        squares = tuple(-(-side // int(pooling)) for side in maps.shape[1:3])
        if squares != (1, 1):
            grid = None if name is None else f"{name}_grid"
            maps = keras.layers.AveragePooling2D(
                squares, padding="same", data_format=_LAYOUT, name=grid
            )(maps)
    return keras.layers.Flatten(_LAYOUT, name=name)(maps)
