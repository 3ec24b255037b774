"""Rebuild a backbone's graph so that transformer blocks inside other layers are its layers."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tlkit._internal import user_warnings
from tlkit._internal.keras_private import (
    flatten_layers,
    inner_layers,
    nodes_in_order,
    operation_of,
    own_non_trainable,
    own_trainable,
    seed_generators,
    set_shape,
)
from tlkit.errors import ConfigError
from tlkit.models import flat_graph

_SAMPLE = 2  # images that the layers are run on, to find the shapes of their outputs


def is_block(layer: Any) -> bool:
    """Return whether a layer is a transformer block: the innermost layer with attention inside."""
    return (
        isinstance(layer, keras.Layer)
        and not isinstance(layer, keras.Model)
        and not is_attention(layer)
        and any(map(is_attention, flatten_layers(layer)))
        and not any(map(is_block, inner_layers(layer)))
    )


def is_attention(layer: Any) -> bool:
    """Return whether a layer is an attention layer, by the name of its class."""
    return "Attention" in type(layer).__name__


# How a layer that contains blocks is opened. KerasHub's ViT has three layers: an input, an
# embedding, and an encoder with all blocks inside, which could only be frozen, read and cached as a
# whole. Keras' layers record their calls when they are called with symbolic tensors. So the
# encoder's own `call` is run on a symbolic tensor: then its blocks are nodes of a graph, in place
# of the encoder. Only layers without their own weights and random numbers are opened, because a
# graph would lose these. Finally the opened model and the original one are run on the same images;
# if the results differ, the layers stay closed.
def open_graph(backbone: keras.Model, image_size: Sequence[int] | None) -> tuple[Any, list[Any]]:
    """Return an input, and the backbone's outputs for it, with blocks as layers of the graph.

    Args:
        backbone: A functional or sequential model.
        image_size: Height and width of images; None if the backbone's input has a fixed size.

    Raises:
        ConfigError: The backbone has no graph, or its stochastic depth fails in training.
    """
    graph = flat_graph.functional_of(backbone)
    if graph is None:
        raise ConfigError(f"`backbone` must be a functional model, got {backbone.name!r}.")
    _check_stochastic_depth(graph)
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
    except Exception as error:  # a layer that can't be opened may raise any error
        problem = type(error).__name__
    if problem:
        user_warnings.warn(
            f"The layers of {backbone.name!r} that hold transformer blocks can only be frozen and "
            f"read as a whole: opening them gave {problem}."
        )
        pairs = _copy(graph, [(image, keras.ops.convert_to_tensor(sample))], opens=False)
    return image, [tensor for tensor, _ in pairs]


def _are_close(results: Sequence[Any], expected: Sequence[Any]) -> bool:
    pairs = zip(results, expected, strict=True)
    arrays = ((_to_float32(one), _to_float32(other)) for one, other in pairs)
    return all(np.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in arrays)


def _to_float32(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")))


_Pair = tuple[Any, Any]  # a symbolic tensor, and its value for the sample


def _copy(graph: Any, inputs: Sequence[_Pair], *, opens: bool) -> list[_Pair]:
    """Call all layers of a graph again with other inputs; return the outputs."""
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


# Running the layers corrects two claims about their outputs. First the shape: the embedding of
# KerasHub's SigLIP claims one token more than it returns. Then tensors without a batch axis, such
# as the rotary positions of DINOv3, which are equal for all images of a size: they become
# constants, so that they are not stored once for each image.
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
    """Return whether a layer only calls blocks and other layers inside it."""
    return (
        isinstance(layer, keras.Layer)
        and any(map(is_block, inner_layers(layer)))
        and not (own_trainable(layer) or own_non_trainable(layer) or seed_generators(layer))
    )


@contextlib.contextmanager
def _without_none(layer: Any) -> Iterator[None]:
    """Let blocks, such as DeiT's, return an empty tensor for None, which a graph can't contain."""
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


def _check_stochastic_depth(graph: Any) -> None:
    """Reject the stochastic depth of KerasHub's DINO, which needs a known batch size."""
    for part in flatten_layers(graph):
        if type(part).__name__ in ("DINOV2DropPath", "DINOV3DropPath") and part.rate > 0:
            raise ConfigError(
                f"`backbone` must have drop_path_rate=0, got {part.rate:g}: this layer of KerasHub "
                f"({part.name!r}) fails in training. Make the backbone with drop_path_rate=0."
            )
