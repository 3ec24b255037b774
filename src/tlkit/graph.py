"""What crosses between the layers of a model, and where its residual blocks end."""

import keras


def block_ends(model: keras.Model) -> list[int]:
    """Return, for each of `model.layers`, the index of the layer that ends its residual block.

    A residual block is a run of layers that more than one tensor crosses: the main path and the
    skip connection beside it. It ends where they meet again in one tensor. A layer outside any
    block, and every layer of a model without a graph, ends itself.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(4)(inputs)
        >>> model = keras.Model(inputs, keras.layers.Add()([inputs, hidden]))
        >>> block_ends(model)
        [0, 2, 2]
    """
    if not hasattr(model, "_nodes_by_depth"):
        return list(range(len(model.layers)))
    layers = {id(layer) for layer in model.layers}
    ends: list[int] = []
    waiting = 0
    for operation, tensors in zip(model.operations, crossing_tensors(model), strict=True):
        waiting += id(operation) in layers
        if tensors <= 1:  # only this operation's result goes on: the block, if any, ends here
            ends += [len(ends) + waiting - 1] * waiting
            waiting = 0
    return ends + [len(model.layers) - 1] * waiting


def crossing_tensors(model: keras.Model) -> list[int]:
    """Return, for each operation of a functional model, how many tensors later ones still need."""
    position = {id(operation): index for index, operation in enumerate(model.operations)}
    made: dict[int, int] = {}
    last_use: dict[int, int] = {}
    for nodes in model._nodes_by_depth.values():  # a shared layer's nodes elsewhere are not in it
        for node in nodes:
            index = position[id(node.operation)]
            made |= {id(tensor): index for tensor in node.outputs}
            for tensor in node.input_tensors:
                last_use[id(tensor)] = max(index, last_use.get(id(tensor), 0))
    last_use |= {id(tensor): len(position) for tensor in model.outputs}
    return [
        sum(made[tensor] <= index < last for tensor, last in last_use.items())
        for index in range(len(position))
    ]
