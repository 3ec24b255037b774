"""A functional model as one flat list of calls, and a model that runs some of them."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal.keras_private import functional_inside, has_graph, nodes_in_order
from tlkit.errors import ConfigError


def functional_of(operation: Any) -> Any:
    """Return an operation that is a functional model, or the functional model in a Sequential.

    The result is None for other operations, and for a subclass of `keras.Model` with its own
    `call`.

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
    """A tensor of a flat graph, identified by a number."""

    number: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """One call of a layer or operation in a flat graph.

    Attributes:
        operation: The Keras layer or operation that is called.
        arguments: `(args, kwargs)` of the call, with a TensorId in place of each tensor.
        inputs: The tensors that the call reads.
        outputs: The tensors that the call returns.
        symbols: Keras' symbolic tensors of the outputs, with the shapes that Keras inferred.
    """

    operation: Any
    arguments: Any
    inputs: tuple[TensorId, ...]
    outputs: tuple[TensorId, ...]
    symbols: tuple[Any, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A functional model as one flat list of calls, without nested models.

    Attributes:
        inputs: The input tensors of the model.
        outputs: The output tensors of the model.
        steps: The calls, each after the calls whose outputs it reads.
    """

    inputs: tuple[TensorId, ...]
    outputs: tuple[TensorId, ...]
    steps: tuple[Step, ...]


def flatten(model: keras.Model) -> Graph:
    """Return the graph of a functional model and of all functional models nested in it.

    The steps call the model's own layers. No layer is copied or called, so a model can be
    flattened any number of times.

    Raises:
        ConfigError: The model has no graph: it is a subclass with its own `call`.

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
            f"{type(model).__name__} without a graph."
        )
    numbers = itertools.count()
    inputs = [TensorId(next(numbers)) for _ in graph.inputs]
    steps: list[Step] = []
    outputs = _append_steps(graph, inputs, steps, numbers)
    return Graph(inputs=tuple(inputs), outputs=tuple(outputs), steps=tuple(steps))


class Part(keras.Model):
    """A model that runs some steps of a flat graph, with the layers of the flattened model.

    Args:
        steps: The steps, each after the steps whose outputs it reads.
        inputs: The input tensors, in order.
        outputs: The output tensors, in order; the model returns them as a list.
        functions: The function to call in each step; by default the step's operation.
        input_dtype: The dtype that inputs are cast to; None does not cast.
        name: The Keras name.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        inputs: Sequence[TensorId],
        outputs: Sequence[TensorId],
        *,
        functions: Sequence[Callable[..., Any]] | None = None,
        input_dtype: str | None = None,
        name: str,
    ) -> None:
        super().__init__(name=name, autocast=False)
        if functions is None:
            functions = [step.operation for step in steps]
        self.calls = tuple(zip(functions, steps, strict=True))
        self.tensor_ids = (tuple(inputs), tuple(outputs))
        self.cast_dtype = input_dtype
        unique = {id(step.operation): step.operation for step in steps}
        self.own_layers = [each for each in unique.values() if isinstance(each, keras.Layer)]
        self.built = True

    @override
    def call(self, tensors: Any, training: bool | None = None) -> Any:
        """Return the outputs as a list."""
        return self.run(tensors, training=training)[0]

    def run(self, tensors: Any, *, training: bool | None) -> tuple[list[Any], dict[TensorId, Any]]:
        """Return the outputs, and the value of every tensor of the steps."""
        inputs, outputs = self.tensor_ids
        arrays = keras.tree.flatten(tensors)
        if self.cast_dtype is not None:
            arrays = [keras.ops.cast(array, self.cast_dtype) for array in arrays]
        values = dict(zip(inputs, arrays, strict=True))
        for function, step in self.calls:
            results = _call(function, step, values, training)
            values |= zip(step.outputs, keras.tree.flatten(results), strict=True)
        return [values[tensor] for tensor in outputs], values


@dataclass(frozen=True)
class TensorSpec:
    """The shape and the dtype of a tensor."""

    shape: tuple[int, ...]
    dtype: str


def find_specs(model: keras.Model, graph: Graph, sample: np.ndarray) -> dict[TensorId, TensorSpec]:
    """Return shape and dtype of every tensor of a flat graph, for a batch of one image.

    Keras has inferred them if the model accepts images of one size only; running a large model on
    one image takes a quarter of a second. For other models, and those with layers of other
    packages, whose inferred shapes may be wrong, the first image is run.

    Args:
        model: The model with this graph; it has one input.
        graph: The result of `flatten`.
        sample: Some raw images.
    """
    image = keras.KerasTensor((1, *sample.shape[1:]), model.inputs[0].dtype)
    known = {graph.inputs[0]: image}
    for step in graph.steps:
        known |= zip(step.outputs, step.symbols, strict=True)
    specs = {tensor: _read_spec(symbol) for tensor, symbol in known.items()}
    is_known = all(None not in spec.shape for spec in specs.values())
    if is_known and all(_is_inferred(step.operation) for step in graph.steps):
        return specs
    whole = Part(graph.steps, graph.inputs, graph.outputs, input_dtype=image.dtype, name="whole")
    values = whole.run(keras.ops.convert_to_tensor(sample[:1]), training=False)[1]
    return {tensor: _read_spec(value) for tensor, value in values.items()}


def _read_spec(tensor: Any) -> TensorSpec:
    """Return the shape, with a batch of 1 where it is unknown, and the dtype of a tensor."""
    shape = tuple(tensor.shape)
    if shape[:1] == (None,):
        shape = (1, *shape[1:])
    return TensorSpec(shape, str(keras.backend.standardize_dtype(tensor.dtype)))


def _is_inferred(operation: Any) -> bool:
    """Return whether an operation is of a package whose inferred shapes can be relied on."""
    return type(operation).__module__.partition(".")[0] in ("keras", "tlkit")


def _call(
    function: Callable[..., Any], step: Step, values: dict[TensorId, Any], training: bool | None
) -> Any:
    args, kwargs = keras.tree.map_structure(
        lambda value: values[value] if isinstance(value, TensorId) else value, step.arguments
    )
    if isinstance(function, keras.Layer) and _takes_training(function):
        # Passed to each layer: its node stores only the default of its `call`, and Keras passes
        # the default of one layer, such as True, on to the layers after it.
        kwargs = {**kwargs, "training": training}
    return function(*args, **kwargs)


def _takes_training(layer: keras.Layer) -> bool:
    return "training" in inspect.signature(layer.call).parameters


# How nested models are flattened. Keras records each call of a layer as a node. A nested model is
# one node of the outer model, and has nodes of its own, which refer to its own input tensors.
# `known` maps the tensors of one model, by identity, to their numbers in the flat list. To enter a
# nested model, its inputs get the numbers of the tensors that it is called with, its nodes are
# appended in their order, and the node in the outer model gets the numbers of its outputs. So a
# model that is called twice is appended twice, with other numbers but the same layers.
def _append_steps(
    graph: Any, inputs: Sequence[TensorId], steps: list[Step], numbers: Iterator[int]
) -> list[TensorId]:
    """Append the steps of a graph that is called with these inputs; return its outputs."""
    known = dict(zip(map(id, graph.inputs), inputs, strict=True))
    for node in nodes_in_order(graph):
        if node.is_input:
            continue
        node_inputs = [known[id(tensor)] for tensor in node.input_tensors]
        inner = functional_of(node.operation)
        if inner is not None:
            node_outputs = _append_steps(inner, node_inputs, steps, numbers)
        else:
            node_outputs = [TensorId(next(numbers)) for _ in node.outputs]
            steps.append(
                Step(
                    operation=node.operation,
                    arguments=_replace_tensors(node.arguments, known),
                    inputs=tuple(node_inputs),
                    outputs=tuple(node_outputs),
                    symbols=tuple(node.outputs),
                )
            )
        known |= zip(map(id, node.outputs), node_outputs, strict=True)
    return [known[id(tensor)] for tensor in graph.outputs]


def _replace_tensors(arguments: Any, known: dict[int, TensorId]) -> Any:
    return keras.tree.map_structure(
        lambda value: known.get(id(value), value), (arguments.args, arguments.kwargs)
    )
