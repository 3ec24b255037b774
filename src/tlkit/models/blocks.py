"""Find where the residual blocks of a model begin and end, from its graph alone."""

from typing import Any

import keras

from tlkit._internal.keras_private import (
    flatten_layers,
    has_graph,
    nodes_in_order,
    own_trainable,
)
from tlkit.models.transformer_blocks import is_block


# How blocks are found. Take the operations in the order in which they run, and count after each
# one the tensors that a later operation still needs: they cross that point. In a chain, one tensor
# crosses every point. A skip connection adds a second tensor, from where it branches off to where
# it is added. So a block is a series of operations that more than one tensor crosses, followed by
# the operation that joins these tensors. A block inside a block needs no special case: the count
# falls to one only at the end of the outer block.
# A squeeze-and-excitation gate looks the same, since the maps wait while their weights are
# computed. But a gate joins the two by a product, and a residual block by a sum. So a gate on the
# main path is not a block; a gate within a block is also crossed by the skip connection, and
# belongs to that block.
# A transformer block that is one layer, with its skip connections inside, is a block by itself.
def number_blocks(model: keras.Model) -> list[int | None]:
    """Return, for each of `model.layers`, the number of its residual block; None outside blocks.

    All numbers are None for a model without a graph, such as a subclass of `keras.Model`.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(4)(inputs)
        >>> number_blocks(keras.Model(inputs, keras.layers.Add()([inputs, hidden])))
        [None, 0, 0]
        >>> number_blocks(keras.Model(inputs, keras.layers.Multiply()([inputs, hidden])))
        [None, None, None]
    """
    if not has_graph(model):
        return [None] * len(model.layers)
    layers = {id(layer) for layer in model.layers}
    numbers: list[int | None] = []
    waiting, crossed, number = 0, False, 0  # layers not yet numbered; whether in a block or gate
    for operation, tensors in zip(model.operations, count_crossing_tensors(model), strict=True):
        waiting += id(operation) in layers
        if tensors > 1:
            crossed = True
            continue
        ends_block = is_block(operation) or (crossed and not _multiplies(operation))
        numbers += [number if ends_block else None] * waiting
        waiting, crossed, number = 0, False, number + ends_block
    return numbers + [number] * waiting


def _multiplies(operation: Any) -> bool:
    return type(operation).__name__ == "Multiply"  # the layer, or the operation of `x * y`


def find_block_ends(model: keras.Model) -> list[int]:
    """Return, for each of `model.layers`, the index of the layer that ends its residual block.

    A layer outside a block ends itself.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(4)(inputs)
        >>> model = keras.Model(inputs, keras.layers.Add()([inputs, hidden]))
        >>> find_block_ends(model)
        [0, 2, 2]
    """
    numbers = number_blocks(model)
    last = {number: index for index, number in enumerate(numbers)}
    return [index if each is None else last[each] for index, each in enumerate(numbers)]


def count_crossing_tensors(model: keras.Model) -> list[int]:
    """Return, for each operation of a functional model, how many tensors later ones still need.

    A model output that no operation needs counts until the end of the model.
    """
    position = {id(operation): index for index, operation in enumerate(model.operations)}
    created: dict[int, int] = {}
    last_use: dict[int, int] = {}
    for node in nodes_in_order(model):
        index = position[id(node.operation)]
        created |= {id(tensor): index for tensor in node.outputs}
        for tensor in node.input_tensors:
            last_use[id(tensor)] = max(index, last_use.get(id(tensor), 0))
    last_use = {id(tensor): len(position) for tensor in model.outputs} | last_use
    return [
        sum(created[tensor] <= index < last for tensor, last in last_use.items())
        for index in range(len(position))
    ]


def has_kernel(layer: keras.Layer) -> bool:
    """Return whether a layer, or one inside it, has a kernel: a trainable weight of 2+ axes."""
    parts = [
        part for part in flatten_layers(layer) if not isinstance(part, keras.layers.Normalization)
    ]
    own = [weight for part in parts for weight in own_trainable(part)]
    return any(len(weight.shape) > 1 for weight in own)
