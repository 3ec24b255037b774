"""The places of a backbone that a head could read, and a model that gives what is read there."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit import cutting, graph, taps
from tlkit.classifier import backbone_of
from tlkit.graph import Graph, Part, Step, TensorId
from tlkit.taps import Pooling


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
        steps = cutting.needed(whole.steps, tensors)
        super().__init__(steps, whole.inputs, tensors, input_dtype=input_dtype, name="readings")
        self._poolings = [place.pooling for place in places]

    @override
    def call(self, images: Any, training: bool | None = None) -> Any:
        maps = super().call(images, training=training)
        return [
            keras.ops.cast(taps.pooled(each, pooling), "float32")
            for each, pooling in zip(maps, self._poolings, strict=True)
        ]


def find(
    model: keras.Model, sample: np.ndarray, most_features: int
) -> tuple[list[Place], Readings]:
    """Return the places of a classifier's backbone, and the model that reads all of them.

    Args:
        model: The classifier.
        sample: Some raw images; the first is run to see the shapes.
        most_features: The finest grid has at most so many features.
    """
    backbone = backbone_of(model)
    whole = graph.flatten(model)
    dtype = model.inputs[0].dtype
    everything = Part(whole.steps, whole.inputs, whole.outputs, input_dtype=dtype, name="whole")
    known = everything.run(keras.ops.convert_to_tensor(sample[:1]), training=False)[1]
    made = {id(step.operation): step for step in whole.steps}
    places = []
    for layer in _ends(backbone, {key: known[step.outputs[0]] for key, step in made.items()}):
        tensor = made[id(layer)].outputs[0]
        work, weights = _cost(cutting.needed(whole.steps, [tensor]), known)
        for pooling, size in _poolings(tuple(known[tensor].shape), most_features):
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


def _ends(backbone: keras.Model, outputs: dict[int, Any]) -> list[Any]:
    """Return the layers after which a block ends, or a bottleneck opens again.

    A layer outside residual blocks is one of them where the next layer gives more numbers.
    """
    padding = keras.layers.ZeroPadding2D
    ends = graph.block_ends(backbone)
    layers = backbone.layers
    sizes = [_numbers(outputs.get(id(layer))) for layer in layers]
    found = []
    residual = False  # whether a residual block ended since the last layer that was taken
    for index, layer in enumerate(layers):
        if ends[index] != index or id(layer) not in outputs:
            continue
        residual = residual or (index > 0 and ends[index - 1] == index)
        after = [n for n in range(index + 1, len(layers)) if not isinstance(layers[n], padding)]
        last = not after
        following = 0 if last else sizes[after[0]]
        if last or following > sizes[index] or (residual and following != sizes[index]):
            found.append(layer)
            residual = False
    return [layer for layer in found if len(outputs[id(layer)].shape) in (2, 4)]


def _numbers(tensor: Any) -> int:
    return 0 if tensor is None else math.prod(tensor.shape[1:])


def _cost(steps: Sequence[Step], known: dict[TensorId, Any]) -> tuple[int, int]:
    work = sum(cutting.work(step.operation, known[step.outputs[0]].shape) for step in steps)
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
