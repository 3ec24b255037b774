"""A backbone that returns tokens, as a functional model whose layers are its transformer blocks."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal.keras_private import (
    flatten_layers,
    inner_layers,
    nodes_in_order,
    nodes_of,
    operation_of,
    own_non_trainable,
    own_trainable,
    seed_generators,
    set_shape,
)
from tlkit.errors import ConfigError
from tlkit.models import flat_graph

_SAMPLE = 2  # images that the layers are run on, to see their shapes


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Which tokens of an image are patches.

    Attributes:
        num_prefix_tokens: Tokens before the patches: the class token, then others, such as
            DINOv2's register tokens; None if it can't be found.
        grid: Rows and columns of patches; None if they can't be found.
    """

    num_prefix_tokens: int | None
    grid: tuple[int, int] | None


@keras.saving.register_keras_serializable(package="tlkit")
class TokenBackbone(keras.Model):
    """A backbone of transformer blocks, each of them a layer of this model.

    It shares all layers with the backbone that it is made of. A file contains that backbone's
    config, since the blocks of KerasHub can't be made from configs of their own.

    Args:
        backbone: A functional or sequential model from images.
        features: Names of the layers to end at; by default it ends where the backbone does.
        image_size: Height and width of images, where the backbone takes any.
        num_prefix_tokens: Tokens before the patches; by default found from the patches.
        name: The Keras name; by default the backbone's.
        trainable: As of every Keras layer.
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        features: Sequence[str] | None = None,
        image_size: Sequence[int] | None = None,
        num_prefix_tokens: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        image, outputs = _make_graph(backbone, image_size)
        if features is not None:
            whole = keras.Model(image, outputs)
            outputs = [nodes_of(whole.get_layer(each), whole)[0].outputs[0] for each in features]
        super().__init__(
            inputs=image,
            outputs=outputs[0] if len(outputs) == 1 else outputs,
            name=name or backbone.name,
            trainable=trainable,
        )
        self._arguments: dict[str, Any] = {
            "features": None if features is None else tuple(features),
            "image_size": None if image_size is None else tuple(image_size),
            "num_prefix_tokens": num_prefix_tokens,
        }
        self._original: Callable[[], keras.Model] = lambda: (
            backbone
        )  # an attribute would be a layer of this model
        self._patch_grid = _find_patch_grid(self)
        _store_positions_unchanged(self)

    def truncate(self, features: Sequence[str]) -> "TokenBackbone":
        """Return a backbone of the same layers that ends at the named ones."""
        arguments = {**self._arguments, "features": features}
        return TokenBackbone(self._original(), name=self.name, **arguments)

    # Patches are made by a convolution whose kernel is as large as its stride, so the size of the
    # image tells their number. All published backbones put other tokens before the patches. A
    # backbone without such a convolution needs `num_prefix_tokens`. Its patches form the grid that
    # has the proportions of the image, if there is one.
    def layout(self, shape: Sequence[int | None]) -> TokenLayout:
        """Return which tokens are patches in a tensor of this shape: (batch, tokens, features)."""
        num_tokens, num_prefix = shape[1], self._arguments["num_prefix_tokens"]
        if num_tokens is None:
            return TokenLayout(num_prefix_tokens=num_prefix, grid=None)
        grid = self._patch_grid
        if num_prefix is None and grid is not None and math.prod(grid) <= num_tokens:
            num_prefix = num_tokens - math.prod(grid)
        if num_prefix is None or not 0 <= num_prefix < num_tokens:
            return TokenLayout(num_prefix_tokens=None, grid=None)
        num_patches = num_tokens - num_prefix
        if grid is None or math.prod(grid) != num_patches:
            grid = _divide(num_patches, self.inputs[0].shape[1:3])
        return TokenLayout(num_prefix_tokens=num_prefix, grid=grid)

    @override
    def get_config(self) -> dict[str, Any]:
        """Return every argument by name."""
        return {
            "backbone": keras.saving.serialize_keras_object(self._original()),
            "name": self.name,
            "trainable": self.trainable,
            **self._arguments,
        }

    @classmethod
    @override
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "TokenBackbone":
        """Return the backbone of a config."""
        backbone = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        return cls(**{**config, "backbone": backbone})


def wrap(
    backbone: keras.Model, image_size: Sequence[int] | None, num_prefix_tokens: int | None
) -> keras.Model:
    """Return a backbone as a TokenBackbone if it holds transformer blocks or returns tokens.

    Args:
        backbone: Any backbone.
        image_size: Height and width that images are resized to, if known.
        num_prefix_tokens: Tokens before the patches; None finds it from the patches.

    Raises:
        ConfigError: `num_prefix_tokens` is set, and the backbone has no tokens.
    """
    graph = flat_graph.functional_of(backbone)
    is_plain = graph is None or not (
        any(len(tensor.shape) == 3 for tensor in graph.outputs)
        or any(map(is_attention, flatten_layers(graph)))
    )
    if isinstance(backbone, TokenBackbone) or is_plain:
        if num_prefix_tokens is not None:
            raise ConfigError(
                f"`num_prefix_tokens` must be left out with {backbone.name!r}, which has no tokens."
            )
        return backbone
    shape = graph.inputs[0].shape[1:3]
    return TokenBackbone(
        backbone,
        image_size=image_size if None in shape else None,
        num_prefix_tokens=num_prefix_tokens,
    )


def is_block(layer: Any) -> bool:
    """Tell whether a layer is a transformer block: one layer that holds an attention layer."""
    return (
        isinstance(layer, keras.Layer)
        and not isinstance(layer, keras.Model)
        and not is_attention(layer)
        and any(map(is_attention, flatten_layers(layer)))
        and not any(map(is_block, inner_layers(layer)))
    )


def is_attention(layer: Any) -> bool:
    """Tell whether a layer is an attention layer, by the name of its class."""
    return "Attention" in type(layer).__name__


# How a layer that holds blocks is opened. KerasHub's ViT is three layers: an input, an embedding,
# and one encoder with all blocks inside, which could only be frozen, read and cached as a whole.
# Keras' layers record their calls when they are called with symbolic tensors. So the encoder's own
# `call` is run on a symbolic tensor: its blocks then are nodes of a graph, in place of the
# encoder. Only layers without weights and random numbers of their own are opened, because a graph
# would not keep those. In the end the opened model is run beside the original one; if the results
# differ, the layers stay closed.
def _make_graph(backbone: keras.Model, image_size: Sequence[int] | None) -> tuple[Any, list[Any]]:
    """Return an input, and the backbone's outputs for it."""
    graph = flat_graph.functional_of(backbone)
    if graph is None:
        raise ConfigError(f"`backbone` must be a functional model, got {backbone.name!r}.")
    first = graph.inputs[0]
    shape = (*(first.shape[1:3] if image_size is None else image_size), first.shape[-1])
    image = keras.Input(shape, dtype=first.dtype, name=operation_of(first).name)
    if None in shape:
        return image, [tensor for tensor, _ in _copy(graph, [(image, None)], opens=False)]
    sample = np.random.default_rng(0).random((_SAMPLE, *shape), "float32")
    try:
        pairs = _copy(graph, [(image, keras.ops.convert_to_tensor(sample))], opens=True)
        opened = keras.Model(image, [tensor for tensor, _ in pairs])
        results = keras.tree.flatten(opened(sample, training=False))
        problem = "" if _are_close(results, [result for _, result in pairs]) else "other results"
    except Exception as error:  # of any layer that was not made to be opened
        problem = type(error).__name__
    if problem:
        warnings.warn(
            f"The layers of {backbone.name!r} that hold transformer blocks can only be frozen and "
            f"read as a whole: opening them gave {problem}.",
            UserWarning,
            stacklevel=4,
        )
        pairs = _copy(graph, [(image, keras.ops.convert_to_tensor(sample))], opens=False)
    return image, [tensor for tensor, _ in pairs]


def _are_close(results: Sequence[Any], expected: Sequence[Any]) -> bool:
    pairs = zip(results, expected, strict=True)
    arrays = [[np.asarray(keras.ops.cast(each, "float32")) for each in pair] for pair in pairs]
    return all(np.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in arrays)


_Pair = tuple[Any, Any]  # a symbolic tensor, and its value for the sample


def _copy(graph: Any, inputs: Sequence[_Pair], *, opens: bool) -> list[_Pair]:
    """Call all layers of a graph again, on other inputs; return its outputs."""
    known = dict(zip(map(id, graph.inputs), inputs, strict=True))
    for node in nodes_in_order(graph):
        if node.is_input:
            continue
        operation = node.operation
        calls = [_replace(node.arguments, known, side) for side in (0, 1)]
        inner = flat_graph.functional_of(operation)
        if inner is not None:
            pairs = _copy(inner, [known[id(each)] for each in node.input_tensors], opens=opens)
        else:
            values = _call(operation, calls[1]) if inputs[0][1] is not None else None
            function = operation.call if opens and _holds_blocks(operation) else operation
            with _without_none(operation):
                tensors = keras.tree.flatten(_call(function, calls[0]))
            pairs = _pair(operation, tensors, values)
        known |= zip(map(id, node.outputs), pairs, strict=True)
    return [known[id(tensor)] for tensor in graph.outputs]


def _call(function: Any, call: Any) -> Any:
    args, kwargs = call
    return function(*args, **kwargs)


def _replace(arguments: Any, known: dict[int, _Pair], side: int) -> Any:
    def find(value: Any) -> Any:
        return known[id(value)][side] if id(value) in known else value

    return keras.tree.map_structure(find, (arguments.args, arguments.kwargs))


# Two things that layers say of their outputs are corrected by running them. The shape: the
# embedding of KerasHub's SigLIP claims a token more than it returns. And a tensor without an axis
# for the batch, such as the rotary positions of DINOv3, which are the same for all images of a
# size: it becomes a constant, for it must not be stored once for each image.
def _pair(operation: Any, tensors: Sequence[Any], values: Any) -> list[_Pair]:
    """Return the symbolic outputs of a layer, each with its value."""
    if values is None:
        return [(tensor, None) for tensor in tensors]
    pairs = []
    for tensor, value in zip(tensors, keras.tree.flatten(values), strict=True):
        if not isinstance(tensor, keras.KerasTensor) or value is None:
            pairs.append((tensor, value))
        elif tensor.shape and tensor.shape[0] is None:
            set_shape(tensor, (None, *value.shape[1:]))
            pairs.append((tensor, value))
        elif isinstance(operation, keras.Layer) and not operation.weights:
            pairs.append((keras.ops.convert_to_numpy(value), value))
        else:
            pairs.append((tensor, value))
    return pairs


def _holds_blocks(layer: Any) -> bool:
    """Tell whether a layer does nothing but call blocks and other layers that it holds."""
    return (
        isinstance(layer, keras.Layer)
        and any(map(is_block, inner_layers(layer)))
        and not (own_trainable(layer) or own_non_trainable(layer) or seed_generators(layer))
    )


@contextlib.contextmanager
def _without_none(layer: Any) -> Iterator[None]:
    """Let blocks return an empty tensor for None, which a graph can't hold: DeiT's do."""
    blocks = [part for part in _parts(layer) if is_block(part)]
    for block in blocks:
        block.compute_output_spec = _fill_none(block.compute_output_spec)
    try:
        yield
    finally:
        for block in blocks:
            del block.compute_output_spec


def _parts(layer: Any) -> list[Any]:
    return flatten_layers(layer) if isinstance(layer, keras.Layer) else []


def _fill_none(function: Any) -> Any:
    def fill(*args: Any, **kwargs: Any) -> Any:
        return keras.tree.map_structure(
            lambda value: keras.KerasTensor((0,)) if value is None else value,
            function(*args, **kwargs),
        )

    return fill


def _find_patch_grid(model: keras.Model) -> tuple[int, int] | None:
    """Return the rows and columns of patches that the only convolution with strides makes."""
    convolutions = [
        part
        for part in flatten_layers(*model.layers)
        if isinstance(part, keras.layers.Conv2D) and tuple(part.strides) != (1, 1)
    ]
    size = model.inputs[0].shape[1:3]
    if len(convolutions) != 1 or None in size:
        return None
    strides = tuple(convolutions[0].strides)
    if tuple(convolutions[0].kernel_size) != strides:
        return None
    return size[0] // strides[0], size[1] // strides[1]


def _divide(count: int, size: Sequence[int | None]) -> tuple[int, int] | None:
    """Return the grid of so many patches with the proportions of an image, if there is one."""
    height, width = size
    if height is None or width is None:
        return None
    rows = math.isqrt(count * height // width)
    return (rows, count // rows) if rows and rows * rows * width == count * height else None


# KerasHub's DINOv2 has its positions twice: as they were trained, and resized to the images. A
# file would get the first, and training that changed the second would be lost, or be changed by
# resizing it twice. So its layer is made to store all variables as they are.
def _store_positions_unchanged(model: keras.Model) -> None:
    for part in flatten_layers(*model.layers):
        if hasattr(part, "interpolated_position_embeddings"):
            for name in ("save_own_variables", "load_own_variables"):
                setattr(part, name, getattr(keras.Layer, name).__get__(part))
