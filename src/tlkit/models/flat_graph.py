"""A model as a graph: its calls in one flat list, what crosses between them, where blocks end."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal.keras_private import (
    flatten_layers,
    functional_inside,
    has_graph,
    nodes_in_order,
    own_trainable,
)
from tlkit.errors import ConfigError


def blocks(model: keras.Model) -> list[int | None]:
    """Return, for each of `model.layers`, the number of its residual block; None outside any.

    A residual block is a run of layers that more than one tensor crosses: the main path and the
    skip connection beside it. It ends where they meet again in one tensor. Where they meet in a
    product, as in squeeze and excitation, the run is a gate: part of what it lies in, no block.
    A model without a graph has none.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(4)(inputs)
        >>> blocks(keras.Model(inputs, keras.layers.Add()([inputs, hidden])))
        [None, 0, 0]
        >>> blocks(keras.Model(inputs, keras.layers.Multiply()([inputs, hidden])))
        [None, None, None]
    """
    if not has_graph(model):
        return [None] * len(model.layers)
    layers = {id(layer) for layer in model.layers}
    found: list[int | None] = []
    waiting, crossed, number = 0, False, 0
    for operation, tensors in zip(model.operations, crossing_tensors(model), strict=True):
        waiting += id(operation) in layers
        if tensors > 1:
            crossed = True
            continue
        residual = crossed and not _multiplies(operation)  # only this operation's result goes on
        found += [number if residual else None] * waiting
        waiting, crossed, number = 0, False, number + residual
    return found + [number] * waiting


def _multiplies(operation: Any) -> bool:
    return type(operation).__name__ == "Multiply"  # the layer, or what `x * y` makes


def block_ends(model: keras.Model) -> list[int]:
    """Return, for each of `model.layers`, the index of the layer that ends its residual block.

    A layer outside any block ends itself.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(4)(inputs)
        >>> model = keras.Model(inputs, keras.layers.Add()([inputs, hidden]))
        >>> block_ends(model)
        [0, 2, 2]
    """
    numbers = blocks(model)
    last = {number: index for index, number in enumerate(numbers)}
    return [index if each is None else last[each] for index, each in enumerate(numbers)]


def has_kernel(layer: keras.Layer) -> bool:
    """Tell whether a layer, or one inside it, holds more than scales, offsets and statistics."""
    parts = [
        part for part in flatten_layers(layer) if not isinstance(part, keras.layers.Normalization)
    ]
    own = [weight for part in parts for weight in own_trainable(part)]
    return any(len(weight.shape) > 1 for weight in own)


def functional_of(operation: Any) -> Any:
    """Return the functional model that this operation is, or holds as a Sequential does.

    None where it is no model, or one whose graph can't be seen.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
        >>> [type(layer).__name__ for layer in functional_of(model).layers]
        ['InputLayer', 'Dense']
    """
    if not isinstance(operation, keras.Model):
        return None
    if has_graph(operation):
        return operation
    return functional_inside(operation)


def crossing_tensors(model: keras.Model) -> list[int]:
    """Return, for each operation of a functional model, how many tensors later ones still need.

    An output that nothing else needs counts to the end; one tapped on the way does not.
    """
    position = {id(operation): index for index, operation in enumerate(model.operations)}
    made: dict[int, int] = {}
    last_use: dict[int, int] = {}
    for node in nodes_in_order(model):
        index = position[id(node.operation)]
        made |= {id(tensor): index for tensor in node.outputs}
        for tensor in node.input_tensors:
            last_use[id(tensor)] = max(index, last_use.get(id(tensor), 0))
    last_use = {id(tensor): len(position) for tensor in model.outputs} | last_use
    return [
        sum(made[tensor] <= index < last for tensor, last in last_use.items())
        for index in range(len(position))
    ]


@dataclass(frozen=True)
class TensorId:
    """A tensor of a flat graph, by number."""

    number: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """One call of a layer or operation in a flat graph.

    Attributes:
        operation: What is called: a Keras layer or operation.
        arguments: `(args, kwargs)` of the call, with a TensorId in place of each tensor.
        inputs: The tensors it takes.
        outputs: The tensors it gives.
    """

    operation: Any
    arguments: Any
    inputs: tuple[TensorId, ...]
    outputs: tuple[TensorId, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A functional model as one flat list of calls, with no model nested in another.

    Attributes:
        inputs: What the model is given.
        outputs: What it returns.
        steps: The calls, each after all that it needs.
    """

    inputs: tuple[TensorId, ...]
    outputs: tuple[TensorId, ...]
    steps: tuple[Step, ...]


def flatten(model: keras.Model) -> Graph:
    """Return a functional model's graph, that of every functional model nested in it included.

    The steps call the model's own layers: nothing is copied, and no node is added to a layer, so
    it can be done any number of times.

    Raises:
        ConfigError: The model has no graph: it is a subclass with a `call` of its own.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="inside")])
        >>> model = keras.Model(inputs, keras.layers.ReLU(name="outside")(inner(inputs)))
        >>> [step.operation.name for step in flatten(model).steps]
        ['inside', 'outside']
    """
    graph = functional_of(model)
    if graph is None:
        raise ConfigError(
            f"`model` must be a functional model, got {model.name!r}, a "
            f"{type(model).__name__} whose graph can't be seen."
        )
    numbers = itertools.count()
    inputs = [TensorId(next(numbers)) for _ in graph.inputs]
    steps: list[Step] = []
    outputs = _append(graph, inputs, steps, numbers)
    return Graph(inputs=tuple(inputs), outputs=tuple(outputs), steps=tuple(steps))


class Part(keras.Model):
    """Runs some steps of a flat graph on the layers of the model it was made from.

    Args:
        steps: The steps, each after all that it needs.
        inputs: What it is given, in order.
        outputs: What it returns, in order; a list also of one.
        instead: What to call in each step; by default its own operation.
        input_dtype: What the inputs are cast to first; None leaves them.
        name: The Keras name.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        inputs: Sequence[TensorId],
        outputs: Sequence[TensorId],
        *,
        instead: Sequence[Callable[..., Any]] | None = None,
        input_dtype: str | None = None,
        name: str,
    ) -> None:
        super().__init__(name=name, autocast=False)
        functions = [step.operation for step in steps] if instead is None else instead
        self.calls = tuple(zip(functions, steps, strict=True))
        self.ends = (tuple(inputs), tuple(outputs))
        self.given_dtype = input_dtype
        unique = {id(step.operation): step.operation for step in steps}
        self.parts = [each for each in unique.values() if isinstance(each, keras.Layer)]
        self.built = True

    @override
    def call(self, tensors: Any, training: bool | None = None) -> Any:
        """Return the outputs as a list."""
        return self.run(tensors, training=training)[0]

    def run(self, tensors: Any, *, training: bool | None) -> tuple[list[Any], dict[TensorId, Any]]:
        """Return the outputs, and every tensor on the way."""
        inputs, outputs = self.ends
        given = keras.tree.flatten(tensors)
        if self.given_dtype is not None:
            given = [keras.ops.cast(tensor, self.given_dtype) for tensor in given]
        known = dict(zip(inputs, given, strict=True))
        for function, step in self.calls:
            results = _call(function, step, known, training)
            known |= zip(step.outputs, keras.tree.flatten(results), strict=True)
        return [known[tensor] for tensor in outputs], known


def _call(
    function: Callable[..., Any], step: Step, known: dict[TensorId, Any], training: bool | None
) -> Any:
    args, kwargs = keras.tree.map_structure(
        lambda value: known[value] if isinstance(value, TensorId) else value, step.arguments
    )
    if isinstance(function, keras.Layer) and _knows_training(function):
        # Said to each layer. What its node holds may be no more than the default of its `call`,
        # and left unsaid, a layer whose default is True would pass that on to the rest.
        kwargs = {**kwargs, "training": training}
    return function(*args, **kwargs)


def _knows_training(layer: keras.Layer) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def _append(
    graph: Any, inputs: Sequence[TensorId], steps: list[Step], numbers: Iterator[int]
) -> list[TensorId]:
    """Append the steps of a graph that is called with these inputs; return its outputs."""
    known = dict(zip(map(id, graph.inputs), inputs, strict=True))
    for node in nodes_in_order(graph):
        if node.is_input:
            continue
        arguments = _with_ids((node.arguments.args, node.arguments.kwargs), known)
        taken = [known[id(tensor)] for tensor in node.input_tensors]
        inner = functional_of(node.operation)
        if inner is not None:
            given = _append(inner, taken, steps, numbers)
        else:
            given = [TensorId(next(numbers)) for _ in node.outputs]
            steps.append(
                Step(
                    operation=node.operation,
                    arguments=arguments,
                    inputs=tuple(taken),
                    outputs=tuple(given),
                )
            )
        known |= zip(map(id, node.outputs), given, strict=True)
    return [known[id(tensor)] for tensor in graph.outputs]


def _with_ids(arguments: Any, known: dict[int, TensorId]) -> Any:
    return keras.tree.map_structure(lambda value: known.get(id(value), value), arguments)
