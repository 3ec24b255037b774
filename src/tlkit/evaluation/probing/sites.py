"""The places of a backbone that a head could read, and a model that gives what is read there."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal.keras_private import operation_of
from tlkit.caching import partition
from tlkit.errors import ConfigError
from tlkit.models import feature_extraction, flat_graph
from tlkit.models.feature_extraction import Pooling
from tlkit.models.flat_graph import Graph, Part, Step, TensorId
from tlkit.models.inspection import backbone_of

_PADDING = keras.layers.ZeroPadding2D
_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place to read: a layer's output, pooled in one way."""

    layer: str
    tensor: TensorId
    pooling: Pooling
    size: int
    work: int
    weights: int


class Readings(Part):
    """Gives the features at every place, of raw images."""

    def __init__(self, whole: Graph, places: Sequence[Place], input_dtype: str) -> None:
        tensors = [place.tensor for place in places]
        steps = partition.needed(whole.steps, tensors)
        super().__init__(steps, whole.inputs, tensors, input_dtype=input_dtype, name="readings")
        self._poolings = [place.pooling for place in places]

    @override
    def call(self, images: Any, training: bool | None = None) -> Any:
        maps = super().call(images, training=training)
        return [
            keras.ops.cast(feature_extraction.pooled(each, pooling), "float32")
            for each, pooling in zip(maps, self._poolings, strict=True)
        ]


def find(model: keras.Model, sample: np.ndarray, max_features: int) -> tuple[list[Place], Readings]:
    """Return the places of a classifier's backbone, and the model that reads all of them.

    Args:
        model: The classifier.
        sample: Some raw images; the first is run to see the shapes.
        max_features: The finest grid has at most so many features.

    Raises:
        ConfigError: The backbone has no place to read.
    """
    whole = flat_graph.flatten(model)
    dtype = model.inputs[0].dtype
    everything = Part(whole.steps, whole.inputs, whole.outputs, input_dtype=dtype, name="whole")
    known = everything.run(keras.ops.convert_to_tensor(sample[:1]), training=False)[1]
    made = {id(step.operation): step.outputs[0] for step in whole.steps}
    places = []
    for layer in _read(backbone_of(model), {key: known[tensor] for key, tensor in made.items()}):
        tensor = made[id(_last(layer))]
        work, weights = _cost(partition.needed(whole.steps, [tensor]), known)
        for pooling, size in _poolings(tuple(known[tensor].shape), max_features):
            places.append(
                Place(
                    layer=layer.name,
                    tensor=tensor,
                    pooling=pooling,
                    size=size,
                    work=work,
                    weights=weights,
                )
            )
    return places, Readings(whole, places, dtype)


def _read(backbone: keras.Model, outputs: dict[int, Any]) -> list[Any]:
    """Return the layers to read, given what each layer in the graph gives."""
    seen = flat_graph.functional_of(backbone)
    found = [] if seen is None else _ends(seen, [outputs.get(id(_last(x))) for x in seen.layers])
    nested = (
        [] if seen is None else [x for x in seen.layers if flat_graph.functional_of(x) is not None]
    )
    hiding = [layer for layer in nested if flat_graph.has_kernel(layer)]
    if len(found) < 2 and hiding:
        raise ConfigError(
            f"`backbone` must hold its layers itself, got {backbone.name!r}, which holds them in "
            f"the model {hiding[0].name!r}, where no head can read. Give that model as the "
            f"backbone: backbone.get_layer({hiding[0].name!r})."
        )
    if not found:
        raise ConfigError(
            "`backbone` must have a layer with weights whose maps (batch, height, width, channels) "
            f"or features (batch, features) a head can read, got {backbone.name!r}, which has "
            "none. Without `features`, the head reads the backbone's output."
        )
    return found


def _last(layer: Any) -> Any:
    """Return what makes a layer's output: of a nested model, the last layer inside."""
    inner = flat_graph.functional_of(layer)
    return layer if inner is None else _last(operation_of(inner.outputs[0]))


def _ends(backbone: Any, outputs: Sequence[Any]) -> list[Any]:
    """Return the layers after which a block ends, or a bottleneck opens again.

    None comes before the first kernel, inside a block or gate, or pads.
    """
    layers, blocks = backbone.layers, flat_graph.blocks(backbone)
    operations = map(id, backbone.operations)
    crossing = dict(zip(operations, flat_graph.crossing_tensors(backbone), strict=True))
    sizes = [_numbers(output) for output in outputs]
    found = []
    deep = residual = False  # whether a kernel came, a residual block since the last one taken
    for index, layer in enumerate(layers):
        deep = deep or flat_graph.has_kernel(layer)
        residual = residual or blocks[index] is not None
        after = _after(layers, index)
        open_ = crossing[id(layer)] > 1 and after is not None
        if not deep or open_ or isinstance(layer, _PADDING) or outputs[index] is None:
            continue
        if (
            after is None
            or isinstance(layer, _POOLING)
            or sizes[after] > sizes[index]
            or (residual and (sizes[after] != sizes[index] or flat_graph.has_kernel(layers[after])))
            or (blocks[after] is not None and not isinstance(layer, keras.layers.Concatenate))
        ):
            found.append(index)
            residual = False
    return [layers[index] for index in found if len(outputs[index].shape) in (2, 4)]


def _after(layers: Sequence[Any], index: int) -> int | None:
    """Return the next layer that does not pad."""
    later = range(index + 1, len(layers))
    return next((each for each in later if not isinstance(layers[each], _PADDING)), None)


def _numbers(tensor: Any) -> int:
    return 0 if tensor is None else math.prod(tensor.shape[1:])


def _cost(steps: Sequence[Step], known: dict[TensorId, Any]) -> tuple[int, int]:
    work = sum(partition.work(step.operation, known[step.outputs[0]].shape) for step in steps)
    layers = {id(step.operation): step.operation for step in steps}.values()
    return work, sum(layer.count_params() for layer in layers if isinstance(layer, keras.Layer))


def _poolings(shape: tuple[int, ...], most: int) -> Iterator[tuple[Pooling, int]]:
    yield "avg", shape[-1]
    if len(shape) == 2 or shape[1:3] == (1, 1):
        return
    side = max(shape[1:3])
    cells = min(math.isqrt(most // shape[-1]), side)
    if cells >= side:
        yield "flatten", math.prod(shape[1:])
    elif cells > 1:
        squares = [-(-length // cells) for length in shape[1:3]]
        sides = [-(-length // square) for length, square in zip(shape[1:3], squares, strict=True)]
        yield cells, math.prod(sides) * shape[-1]
