"""Cut a classifier in two: the trunk, whose results for an image are always equal, and the tail."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit._internal.keras_private import flatten_layers, own_non_trainable, seed_generators
from tlkit.caching import cost
from tlkit.models.flat_graph import Graph, Step, TensorId, find_specs, flatten
from tlkit.models.freezing import FreezePlan, find_batchnorm

_DROPOUTS = ("Dropout", "StochasticDepth", "DropPath", "DropConnect")


class NoFrozenPart(Exception):  # noqa: N818  # not an error: the caller trains without a cut
    """No part of a model can be cut off; the message states the layer that prevents it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """A classifier's graph in two parts, the trunk and the tail.

    Attributes:
        graph: The whole graph.
        trunk: The steps before the cut.
        tail: The steps after the cut.
        tensors: The tensors that cross the cut.
        shapes: The shape of each crossing tensor for one image.
        dtypes: The dtype of each crossing tensor.
        input_shapes: The shape of each tail step's first input, with a batch of 1.
        disabled_layers: Layers of the trunk that are random in training, but disabled in the trunk.
        random_layers: Layers of the trunk that augment images; they stay random.
        reason: A line that states where the cut is and why.
    """

    graph: Graph
    trunk: tuple[Step, ...]
    tail: tuple[Step, ...]
    tensors: tuple[TensorId, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    disabled_layers: tuple[str, ...]
    random_layers: tuple[str, ...]
    reason: str

    @property
    def bytes_per_image(self) -> int:
        """The number of bytes that cross the cut for one image."""
        return sum(math.prod(shape) for shape in self.shapes) * cost.FEATURE_BYTES

    def is_within(self, other: "Cut") -> bool:
        """Return whether this trunk is part of the trunk of another cut of the same model."""
        there = {step.outputs for step in other.trunk}
        return all(step.outputs in there for step in self.trunk)


def find_cut(
    model: keras.Model,
    plan: FreezePlan,
    sample: np.ndarray,
    *,
    after: str | None = None,
    views: bool = False,
) -> Cut:
    """Choose where to cut a classifier whose freeze plan has been applied.

    Args:
        model: The classifier.
        plan: The freeze plan of its backbone.
        sample: Some raw images, to find the shapes.
        after: The name of the layer to cut after; None chooses by cost.
        views: Whether layers that augment images may be part of the trunk.

    Raises:
        ConfigError: The model can't be cut after that layer.
        NoFrozenPart: No frozen layer has results for an image that are always equal.
    """
    graph = flatten(model)
    frozen = {id(part) for part in flatten_layers(*plan.frozen)}
    fixed = _list_fixed_steps(graph, frozen, views=views)
    _check_weights(graph, fixed)
    specs = find_specs(model, graph, sample)
    places = cost.list_places(graph, fixed, specs)
    if after is None:
        chosen = cost.choose_cheapest(graph, fixed, specs, places)
    else:
        chosen = cost.choose_named(places, after)
    before = fixed[: chosen.num_steps]
    inside = {id(step) for step in before}
    trunk = select_needed(before, chosen.tensors)
    tail = tuple(step for step in graph.steps if id(step) not in inside)
    return Cut(
        graph=graph,
        trunk=trunk,
        tail=tail,
        tensors=chosen.tensors,
        shapes=tuple(specs[tensor].shape[1:] for tensor in chosen.tensors),
        dtypes=tuple(specs[tensor].dtype for tensor in chosen.tensors),
        input_shapes=tuple(specs[step.inputs[0]].shape for step in tail),
        disabled_layers=_list_random(
            trunk, lambda layer: _is_dropout(layer) and id(layer) in frozen
        ),
        random_layers=_list_random(trunk, lambda layer: id(layer) not in frozen),
        reason=cost.explain_choice(places, chosen, by_name=after is not None),
    )


def merge_trunks(cuts: Sequence[Cut]) -> tuple[tuple[Step, ...], tuple[TensorId, ...]]:
    """Return the steps and the outputs of one trunk that serves several cuts of a model."""
    tensors = tuple(dict.fromkeys(tensor for cut in cuts for tensor in cut.tensors))
    wanted = {step.outputs for cut in cuts for step in cut.trunk}
    steps = tuple(step for step in cuts[0].graph.steps if step.outputs in wanted)
    return steps, tensors


# A step can be run once for all epochs if its result for an image is always equal, before and after
# any training. So it may only depend on the image and on other such steps. Its layer must have no
# trained weight, no trainable BatchNormalization, no state that training changes (statistics), no
# penalty on its output that is part of the loss, and no random numbers. Two kinds of random layers
# are accepted: dropout inside the frozen layers, which is disabled in the trunk as in inference,
# and augmentation before them if copies of each image are stored.
def _list_fixed_steps(graph: Graph, frozen: set[int], *, views: bool) -> list[Step]:
    """Return the steps that depend only on the image and fixed layers, in order."""
    given = set(graph.inputs)
    fixed = []
    for step in graph.steps:
        if given.issuperset(step.inputs) and _is_fixed(step.operation, frozen, views=views):
            given.update(step.outputs)
            fixed.append(step)
    return fixed


def _is_fixed(operation: Any, frozen: set[int], *, views: bool) -> bool:
    if not isinstance(operation, keras.Layer):
        return True
    parts = flatten_layers(operation)
    return (
        not operation.trainable_variables
        and not any(norm.trainable for norm in find_batchnorm(operation))
        and all(_keeps_state(part, frozen) for part in parts)
        and all(
            (_is_dropout(part) and id(part) in frozen) or (views and id(part) not in frozen)
            for part in parts
            if _is_random(part)
        )
    )


def _keeps_state(layer: Any, frozen: set[int]) -> bool:
    """Return whether a layer, in training, changes neither its own state nor the loss."""
    stateless = not own_non_trainable(layer) or not layer.trainable or id(layer) in frozen
    constant = isinstance(layer, keras.layers.Normalization | keras.layers.Rescaling)
    return (stateless or constant) and layer.activity_regularizer is None


def _is_random(layer: Any) -> bool:
    return bool(seed_generators(layer))


def _is_dropout(layer: Any) -> bool:
    return any(word in type(layer).__name__ for word in _DROPOUTS)


def _list_random(steps: Iterable[Step], wanted: Callable[[Any], bool]) -> tuple[str, ...]:
    layers = [step.operation for step in steps if isinstance(step.operation, keras.Layer)]
    parts = flatten_layers(*layers)
    return tuple(part.name for part in parts if _is_random(part) and wanted(part))


def _check_weights(graph: Graph, fixed: list[Step]) -> None:
    if any(cost.count_multiply_adds(step.operation, (1, 1)) for step in fixed):
        return
    inside = {id(step) for step in fixed}
    first = next(step.operation for step in graph.steps if id(step) not in inside)
    if isinstance(first, keras.Layer) and not first.trainable_variables:
        random = [part.name for part in flatten_layers(first) if _is_random(part)]
        what = "is random" if random else "changes in training"
        raise NoFrozenPart(
            f"{(random or [first.name])[0]!r} {what}, so the frozen layers after it give other "
            "results each time"
        )
    raise NoFrozenPart(f"no frozen layer comes before {first.name!r}, which is trained")


def select_needed(steps: Sequence[Step], tensors: Iterable[TensorId]) -> tuple[Step, ...]:
    """Return, in order, the steps that the tensors depend on."""
    wanted = set(tensors)
    found = []
    for step in reversed(steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
            found.append(step)
    return tuple(reversed(found))
