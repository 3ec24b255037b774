"""Choose the cheapest place to cut a classifier: bytes to store against layers to run again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.text import show
from tlkit.errors import ConfigError
from tlkit.models.flat_graph import Graph, Step, TensorId, TensorSpec

_FEATURE_AXES = 2  # images and features
FEATURE_BYTES = 4
"""The bytes of a feature: float32, whatever dtype the model computes in."""

_MAX_RECOMPUTED = 0.05  # of a training step's work
_TRAINING_WORK = 3  # of a forward pass: a training step also runs backward, which is twice the work


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place where a classifier can be cut.

    Attributes:
        num_steps: The number of fixed steps before it.
        name: The name of the last layer before it.
        tensors: The tensors that cross it.
        num_bytes: The bytes that cross it for one image.
    """

    num_steps: int
    name: str
    tensors: tuple[TensorId, ...]
    num_bytes: int


def list_places(
    graph: Graph, fixed: Sequence[Step], specs: Mapping[TensorId, TensorSpec]
) -> list[Place]:
    """Return every place after a fixed step that the input images do not cross.

    Args:
        graph: The whole graph.
        fixed: The steps whose results for an image are always equal, in order.
        specs: Shape and dtype of each tensor of the graph.
    """
    return [
        Place(
            num_steps=count,
            name=fixed[count - 1].operation.name,
            tensors=tensors,
            num_bytes=sum(math.prod(specs[each].shape[1:]) for each in tensors) * FEATURE_BYTES,
        )
        for count in range(1, len(fixed) + 1)
        if (tensors := _find_crossing(graph, fixed[:count]))
    ]


def choose_named(places: Sequence[Place], name: str) -> Place:
    """Return the place after the layer of this name.

    Raises:
        ConfigError: No place is after a layer of this name.
    """
    names = [place.name for place in places]
    if name not in names:
        close = arguments.nearest(name, names) or f" The last is {names[-1]!r}."
        raise ConfigError(
            f"`cut` must be the name of a layer before all that are trained, "
            f"got {show(name)}.{close}"
        )
    return places[names.index(name)]


# The cut determines two costs. The tensors that cross it are stored once and read in every epoch:
# the fewer bytes the better. The layers after it run in every epoch: the later the better. The last
# possible cut, right before the first trained layer, leaves the fewest layers to run. But blocks
# are wide inside and narrow at their ends, and a skip connection makes a second tensor cross. A
# little before the last cut, often only a fraction of the bytes crosses. So of all places that add
# at most 5 % to the work of a training step, the one with the fewest bytes is chosen, and of equal
# ones the last. A cut before any layer with weights would store as much as it saves, and is not
# considered. If the head reads several layers, the cut is before their features are concatenated,
# since a probe has stored them separately.
def choose_cheapest(
    graph: Graph,
    fixed: Sequence[Step],
    specs: Mapping[TensorId, TensorSpec],
    places: Sequence[Place],
) -> Place:
    """Return the place with the fewest bytes of those that add little work to a training step."""
    work = {
        id(step): count_multiply_adds(step.operation, specs[step.outputs[0]].shape)
        for step in graph.steps
    }
    before = [work[id(step)] for step in fixed]
    allowed = _MAX_RECOMPUTED * _TRAINING_WORK * (sum(work.values()) - sum(before))
    possible = [
        place
        for place in places
        if sum(before[place.num_steps :]) <= allowed and sum(before[: place.num_steps]) > 0
    ]

    def rank(place: Place) -> tuple[int, bool, int]:
        last = fixed[place.num_steps - 1]
        return place.num_bytes, concatenates_features(last, specs), -place.num_steps

    return min(possible, key=rank)


def concatenates_features(step: Step, specs: Mapping[TensorId, TensorSpec]) -> bool:
    """Return whether a step concatenates feature vectors (not maps)."""
    joins = isinstance(step.operation, keras.layers.Concatenate)
    return joins and len(specs[step.outputs[0]].shape) == _FEATURE_AXES


def explain_choice(places: Sequence[Place], chosen: Place, *, by_name: bool) -> str:
    """Return a line that states where the cut is and why."""
    line = f"caching after {chosen.name}"
    if by_name:
        return f"{line}, as `cut` asks"
    times = places[-1].num_bytes / chosen.num_bytes
    if times == 1:
        return f"{line}, where training starts"
    factor = f"{times:.0f}" if times >= 2 else f"{times:.1f}"
    return f"{line}: {factor}x smaller; the few layers after it run again each epoch"


def count_multiply_adds(operation: Any, shape: Sequence[int]) -> int:
    """Return the approximate number of multiply-adds of a layer for one image, from its weights.

    Args:
        operation: A layer or operation; without weights, the number is 0.
        shape: The shape of its output, with the batch axis.
    """
    weights = operation.weights if isinstance(operation, keras.Layer) else []
    kernels = sum(math.prod(weight.shape) for weight in weights if len(weight.shape) > 1)
    return int(kernels * math.prod(shape[1:-1]))


def _find_crossing(graph: Graph, inside: Sequence[Step]) -> tuple[TensorId, ...]:
    """Return the tensors that cross a cut; empty if the input images would cross it."""
    own = {id(step) for step in inside}
    used = {tensor for step in graph.steps if id(step) not in own for tensor in step.inputs}
    used.update(graph.outputs)
    if used.intersection(graph.inputs):
        return ()
    given = dict.fromkeys(tensor for step in inside for tensor in step.outputs)
    return tuple(tensor for tensor in given if tensor in used)
