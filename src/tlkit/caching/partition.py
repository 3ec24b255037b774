"""Where to cut a classifier: a trunk that gives the same for an image every time, and the rest."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.keras_private import flatten_layers, own_non_trainable, seed_generators
from tlkit.errors import ConfigError
from tlkit.models.flat_graph import Graph, Part, Step, TensorId, flatten
from tlkit.models.freezing import FreezePlan, find_batchnorm

_RECOMPUTED = 0.05
"""How much of the tail's work may be added by an earlier cut that leaves less to keep."""

KEPT_BYTES = 4
"""A feature is kept as float32, whatever the model computes in."""

_DROPOUTS = ("Dropout", "StochasticDepth", "DropPath", "DropConnect")
_TRAINING_WORK = 3  # a step forward, and two as much work backward


class NoFixedTrunk(Exception):  # noqa: N818  # not an error: the caller trains without a cut
    """Nothing can be cut off; the message says which layer stands in the way."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """A classifier's graph in two parts.

    Attributes:
        graph: The whole graph.
        trunk: The steps before the cut.
        tail: The steps after it.
        tensors: What crosses.
        shapes: The shape of each crossing tensor for one image.
        dtypes: Its dtype.
        inputs: The shape that each tail step's first tensor has, the batch axis 1.
        switched_off: Layers of the trunk that are random in training; in the trunk they are off.
        random: Layers of the trunk whose every view differs: augmentation.
        why: What was chosen, in words.
    """

    graph: Graph
    trunk: tuple[Step, ...]
    tail: tuple[Step, ...]
    tensors: tuple[TensorId, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    switched_off: tuple[str, ...]
    random: tuple[str, ...]
    why: str

    @property
    def bytes_per_image(self) -> int:
        """How many bytes cross for one image."""
        return sum(math.prod(shape) for shape in self.shapes) * KEPT_BYTES

    def within(self, other: "Cut") -> bool:
        """Tell whether this trunk is part of another cut's trunk, of the same model."""
        there = {step.outputs for step in other.trunk}
        return all(step.outputs in there for step in self.trunk)


def find(
    model: keras.Model,
    plan: FreezePlan,
    sample: np.ndarray,
    *,
    after: str | None = None,
    views: bool = False,
) -> Cut:
    """Choose where to cut a classifier whose freeze plan has been applied.

    All that comes before the first layer that is trained can be cut off. A little before that
    the tensors are often much smaller: the cut goes where fewest bytes cross, as long as running
    the layers in between again adds at most 5 % to the work of a training step.

    Args:
        model: The classifier.
        plan: What its backbone freezes.
        sample: Some raw images, the first of which is run to see the shapes.
        after: The name of the layer to cut after; None chooses.
        views: Whether random layers before the frozen ones may be part of the trunk, which then
            gives another view of an image each time.

    Raises:
        ConfigError: No layer of that name can be cut after.
        NoFixedTrunk: No frozen layer gives the same for an image every time.
    """
    graph = flatten(model)
    kept = {id(part) for part in flatten_layers(*plan.frozen)}
    fixed = _fixed_steps(graph, kept, views=views)
    _require_weights(graph, fixed)
    whole = Part(
        graph.steps, graph.inputs, graph.outputs, input_dtype=model.inputs[0].dtype, name="whole"
    )
    known = whole.run(keras.ops.convert_to_tensor(sample[:1]), training=False)[1]
    places = _places(graph, fixed, known)
    chosen = _cheapest(graph, fixed, known, places) if after is None else _named(places, after)
    inside = {id(step) for step in fixed[: chosen.steps]}
    trunk = needed(fixed[: chosen.steps], chosen.tensors)
    tail = tuple(step for step in graph.steps if id(step) not in inside)
    return Cut(
        graph=graph,
        trunk=trunk,
        tail=tail,
        tensors=chosen.tensors,
        shapes=tuple(tuple(known[tensor].shape[1:]) for tensor in chosen.tensors),
        dtypes=tuple(_dtype(known[tensor]) for tensor in chosen.tensors),
        inputs=tuple(tuple(known[step.inputs[0]].shape) for step in tail),
        switched_off=_random_names(trunk, lambda layer: _is_dropout(layer) and id(layer) in kept),
        random=_random_names(trunk, lambda layer: id(layer) not in kept),
        why=_why(places, chosen, by_name=after is not None),
    )


def shared_trunk(cuts: Sequence[Cut]) -> tuple[tuple[Step, ...], tuple[TensorId, ...]]:
    """Return the steps and the outputs of one trunk that serves several cuts of one model."""
    tensors = tuple(dict.fromkeys(tensor for cut in cuts for tensor in cut.tensors))
    wanted = {step.outputs for cut in cuts for step in cut.trunk}
    steps = tuple(step for step in cuts[0].graph.steps if step.outputs in wanted)
    return steps, tensors


def _fixed_steps(graph: Graph, kept: set[int], *, views: bool) -> list[Step]:
    """Return the steps that depend on nothing but the image and fixed layers, in order."""
    known = set(graph.inputs)
    fixed = []
    for step in graph.steps:
        if known.issuperset(step.inputs) and _is_fixed(step.operation, kept, views=views):
            known.update(step.outputs)
            fixed.append(step)
    return fixed


def _is_fixed(operation: Any, kept: set[int], *, views: bool) -> bool:
    if not isinstance(operation, keras.Layer):
        return True
    parts = flatten_layers(operation)
    return (
        not operation.trainable_variables
        and not any(norm.trainable for norm in find_batchnorm(operation))
        and all(_stays(part, kept) for part in parts)
        and all(
            (_is_dropout(part) and id(part) in kept) or (views and id(part) not in kept)
            for part in parts
            if _is_random(part)
        )
    )


def _stays(layer: Any, kept: set[int]) -> bool:
    """Tell whether training leaves a layer's own state and the loss alone."""
    stateless = not own_non_trainable(layer) or not layer.trainable or id(layer) in kept
    constant = isinstance(layer, keras.layers.Normalization | keras.layers.Rescaling)
    return (stateless or constant) and layer.activity_regularizer is None


def _is_random(layer: Any) -> bool:
    return bool(seed_generators(layer))


def _is_dropout(layer: Any) -> bool:
    return any(word in type(layer).__name__ for word in _DROPOUTS)


def _random_names(steps: Iterable[Step], wanted: Callable[[Any], bool]) -> tuple[str, ...]:
    layers = [step.operation for step in steps if isinstance(step.operation, keras.Layer)]
    parts = flatten_layers(*layers)
    return tuple(part.name for part in parts if _is_random(part) and wanted(part))


def _require_weights(graph: Graph, fixed: list[Step]) -> None:
    if any(work(step.operation, (1, 1)) for step in fixed):
        return
    inside = {id(step) for step in fixed}
    first = next(step.operation for step in graph.steps if id(step) not in inside)
    if isinstance(first, keras.Layer) and not first.trainable_variables:
        random = [part.name for part in flatten_layers(first) if _is_random(part)]
        what = "is random" if random else "changes in training"
        raise NoFixedTrunk(
            f"{(random or [first.name])[0]!r} {what}, so the frozen layers after it give other "
            "results each time"
        )
    raise NoFixedTrunk(f"no frozen layer comes before {first.name!r}, which is trained")


def _crossing(graph: Graph, inside: Sequence[Step]) -> tuple[TensorId, ...]:
    """Return what crosses; nothing where the image itself would have to."""
    made = dict.fromkeys(tensor for step in inside for tensor in step.outputs)
    own = {id(step) for step in inside}
    used = {tensor for step in graph.steps if id(step) not in own for tensor in step.inputs}
    used.update(graph.outputs)
    if used.intersection(graph.inputs):
        return ()
    return tuple(tensor for tensor in made if tensor in used)


def needed(steps: Sequence[Step], tensors: Iterable[TensorId]) -> tuple[Step, ...]:
    """Return, in order, the steps that the tensors depend on."""
    wanted = set(tensors)
    found = []
    for step in reversed(steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
            found.append(step)
    return tuple(reversed(found))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A place to cut: after so many of the fixed steps."""

    steps: int
    name: str
    tensors: tuple[TensorId, ...]
    bytes: int


def _places(graph: Graph, fixed: list[Step], known: dict[TensorId, Any]) -> list[_Place]:
    return [
        _Place(
            steps=count,
            name=fixed[count - 1].operation.name,
            tensors=tensors,
            bytes=sum(_bytes_of(known[tensor]) for tensor in tensors),
        )
        for count in range(1, len(fixed) + 1)
        if (tensors := _crossing(graph, fixed[:count]))
    ]


def _named(places: list[_Place], name: str) -> _Place:
    names = [place.name for place in places]
    if name not in names:
        close = arguments.nearest(name, names) or f" The last is {names[-1]!r}."
        raise ConfigError(
            f"`cut` must be the name of a layer before all that are trained, got {name!r}.{close}"
        )
    return places[names.index(name)]


def _cheapest(
    graph: Graph, fixed: list[Step], known: dict[TensorId, Any], places: list[_Place]
) -> _Place:
    costs = {id(step): work(step.operation, known[step.outputs[0]].shape) for step in graph.steps}
    before = [costs[id(step)] for step in fixed]
    allowed = _RECOMPUTED * _TRAINING_WORK * (sum(costs.values()) - sum(before))
    possible = [
        place
        for place in places
        if sum(before[place.steps :]) <= allowed and sum(before[: place.steps]) > 0
    ]
    return min(possible, key=lambda place: (place.bytes, -place.steps))


def work(operation: Any, shape: Sequence[int]) -> int:
    """Return about how many multiply-adds a layer does for one image, from its weights."""
    weights = operation.weights if isinstance(operation, keras.Layer) else []
    kernels = sum(math.prod(weight.shape) for weight in weights if len(weight.shape) > 1)
    return int(kernels * math.prod(shape[1:-1]))


def _dtype(tensor: Any) -> str:
    return str(keras.backend.standardize_dtype(tensor.dtype))


def _bytes_of(tensor: Any) -> int:
    return int(math.prod(tensor.shape[1:]) * KEPT_BYTES)


def _why(places: list[_Place], chosen: _Place, *, by_name: bool) -> str:
    where = f"cut after {chosen.name!r}"
    if by_name:
        return f"{where}, as asked"
    last = places[-1]
    if chosen.bytes == last.bytes:
        return f"{where}, where training starts"
    return (
        f"{where}: {last.bytes / chosen.bytes:.0f} times less to keep than the "
        f"{len(last.tensors)} tensors after {last.name!r}, and little to run again"
    )
