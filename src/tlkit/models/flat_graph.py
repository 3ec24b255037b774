"""A functional model as one flat list of calls, and a model that runs some of them."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal.keras_private import functional_inside, has_graph, nodes_in_order
from tlkit.errors import ConfigError


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
