"""The sites of a backbone where a head can read features, and a model that returns them all."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit.caching import cost, fingerprint, partition
from tlkit.errors import ConfigError
from tlkit.models import blocks, feature_extraction, flat_graph
from tlkit.models.feature_extraction import Pooling
from tlkit.models.flat_graph import Graph, Part, Step, TensorId, TensorSpec
from tlkit.models.inspection import backbone_of
from tlkit.models.token_backbone import TokenLayout

_PADDING = keras.layers.ZeroPadding2D
_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A layer's output, pooled in one way; see `ProbedLayer`.

    `map_size` is the height and width of its maps, or None if it has tokens or features only.
    """

    layer: str
    tensor: TensorId
    pooling: Pooling
    num_features: int
    multiply_adds: int
    num_parameters: int
    map_size: tuple[int, int] | None = None


class FeatureReader(Part):
    """A part of a classifier that returns the features at every site, from raw images."""

    def __init__(
        self,
        graph: Graph,
        sites: Sequence[Site],
        backbone: keras.Model,
        input_dtype: str,
        shapes: Sequence[tuple[int, ...]],
    ) -> None:
        tensors = [site.tensor for site in sites]
        steps = partition.select_needed(graph.steps, tensors)
        super().__init__(steps, graph.inputs, tensors, input_dtype=input_dtype, name="features")
        self._cut: Callable[[int, int], CutClassifier] = lambda index, num_classes: CutClassifier(
            num_classes, graph, [sites[index]], backbone, input_dtype, [shapes[index]]
        )
        self._poolings = [site.pooling for site in sites]
        self._layouts = [feature_extraction.layout_of(backbone, shape) for shape in shapes]
        self._read = steps, tensors, list(shapes)

    def cut(self, index: int, num_classes: int) -> "CutClassifier":
        """Return the classifier that ends at the site with this index, with a head of zeros."""
        return self._cut(index, num_classes)

    @override
    def call(self, images: Any, training: bool | None = None) -> Any:
        maps = super().call(images, training=training)
        return [
            keras.ops.cast(feature_extraction.pool(each, pooling, layout=layout), "float32")
            for each, pooling, layout in zip(maps, self._poolings, self._layouts, strict=True)
        ]

    def digest_features(self) -> list[str]:
        """Return a digest of all that determines the features of each site, except the images."""
        steps, tensors, shapes = self._read
        digests = fingerprint.digest_tensors(steps)
        return [
            _digest_pooled(shape, pooling, layout, digests[tensor])
            for shape, pooling, layout, tensor in zip(
                shapes, self._poolings, self._layouts, tensors, strict=True
            )
        ]


class CutClassifier(FeatureReader):
    """The path from raw images to probabilities through one site, to measure its time."""

    def __init__(
        self, num_classes: int, graph: Graph, sites: Sequence[Site], *reading: Any
    ) -> None:
        super().__init__(graph, sites, *reading)
        self._kernel = np.zeros((sites[0].num_features, num_classes), "float32")

    @override
    def call(self, images: Any, training: bool | None = None) -> Any:
        (features,) = super().call(images, training=training)
        return [keras.ops.softmax(keras.ops.matmul(features, self._kernel))]


def find_sites(
    model: keras.Model, sample: np.ndarray, max_features: int
) -> tuple[list[Site], FeatureReader]:
    """Return the sites of a classifier's backbone, and a model that returns their features.

    Args:
        model: The classifier.
        sample: Some raw images, to find the shapes.
        max_features: The maximum number of features per image of the finest grid.

    Raises:
        ConfigError: The backbone has no layer that a head can read.
    """
    graph = flat_graph.flatten(model)
    dtype = model.inputs[0].dtype
    specs = flat_graph.find_specs(model, graph, sample)
    tensors = {id(step.operation): step.outputs[0] for step in graph.steps}
    outputs = {operation: specs[tensor] for operation, tensor in tensors.items()}
    sites = []
    backbone = backbone_of(model)
    for layer in _readable_layers(backbone, outputs):
        tensor = tensors[id(_last_layer(layer))]
        multiply_adds, num_parameters = _cost(partition.select_needed(graph.steps, [tensor]), specs)
        sites += [
            Site(
                layer=layer.name,
                tensor=tensor,
                pooling=pooling,
                num_features=num_features,
                multiply_adds=multiply_adds,
                num_parameters=num_parameters,
                map_size=_map_size(specs[tensor].shape, backbone),
            )
            for pooling, num_features in _poolings(specs[tensor].shape, max_features, backbone)
        ]
    shapes = [specs[site.tensor].shape for site in sites]
    return sites, FeatureReader(graph, sites, backbone, dtype, shapes)


def _map_size(shape: tuple[int, ...], backbone: keras.Model) -> tuple[int, int] | None:
    is_map = len(shape) == 4 and feature_extraction.layout_of(backbone, shape) is None
    return (shape[1], shape[2]) if is_map else None


def _digest_pooled(
    shape: Sequence[int], pooling: Pooling, layout: TokenLayout | None, digest: str
) -> str:
    """Return the digest of pooled maps, equal to that of the head's input with this pooling."""
    maps = keras.Input(tuple(shape[1:]))
    pooled = feature_extraction.pool(maps, pooling, layout=layout)
    if pooled is maps:
        return digest
    graph = flat_graph.flatten(keras.Model(maps, pooled))
    return fingerprint.digest_tensors(graph.steps, {graph.inputs[0]: digest})[graph.outputs[0]]


def _readable_layers(backbone: keras.Model, outputs: dict[int, Any]) -> list[Any]:
    """Return the layers that a head can read, given the output of every layer in the graph."""
    functional = flat_graph.functional_of(backbone)
    layers = [] if functional is None else functional.layers
    found = (
        _block_ends(functional, [outputs.get(id(_last_layer(layer))) for layer in layers])
        if layers
        else []
    )
    nested = [
        layer
        for layer in layers
        if flat_graph.functional_of(layer) is not None and blocks.has_kernel(layer)
    ]
    if len(found) < 2 and nested:
        raise ConfigError(
            f"`backbone` must hold its layers itself, got {backbone.name!r}, which holds them in "
            f"the model {nested[0].name!r}, where no head can read. Pass that model as the "
            f"backbone: backbone.get_layer({nested[0].name!r})."
        )
    if not found:
        raise ConfigError(
            "`backbone` must have a layer with weights that returns maps (batch, height, width, "
            "channels), tokens (batch, tokens, features) or features (batch, features), got "
            f"{backbone.name!r} without one. Leave out `features`, so that the head reads the "
            "backbone's output."
        )
    return found


def _last_layer(layer: Any) -> Any:
    """Return the layer that computes a layer's output: in a nested model, its last layer."""
    inner = flat_graph.functional_of(layer)
    return layer if inner is None else _last_layer(inner.outputs[0]._keras_history.operation)


# Where does a block end, so that a head should read there? Inside a block, features are less
# useful: a wide expansion is about to be projected, or a skip connection carries other features
# past them. So a layer is a candidate if there is a kernel up to it, its output is the only tensor
# that later layers need (`count_crossing_tensors`), and it does not pad. A block ends with a
# candidate
# - if it is the last layer, or a pooling, as in VGG;
# - if the next layer returns more numbers, as after MobileNet's narrow projections, before an
#   expansion;
# - if a residual block has ended, and the next layer has a kernel or returns another size. The
#   activation after ResNet's addition does neither, so the block ends with this activation;
# - if the next layer is in a residual block, unless this layer concatenates: each layer of a dense
#   block does so, and adds only a few channels.
def _block_ends(backbone: Any, outputs: Sequence[Any]) -> list[Any]:
    """Return the layers after which a block ends, given the output of each layer."""
    layers, numbers = backbone.layers, blocks.number_blocks(backbone)
    operations = map(id, backbone.operations)
    crossing = dict(zip(operations, blocks.count_crossing_tensors(backbone), strict=True))
    sizes = [0 if output is None else math.prod(output.shape[1:]) for output in outputs]
    found = []
    seen_kernel = seen_residual = False  # `seen_residual` since the last end of a block
    for index, layer in enumerate(layers):
        seen_kernel = seen_kernel or blocks.has_kernel(layer)
        seen_residual = seen_residual or numbers[index] is not None
        after = _next_unpadded(layers, index)
        inside = crossing[id(layer)] > 1 and after is not None
        if not seen_kernel or inside or isinstance(layer, _PADDING) or outputs[index] is None:
            continue
        if (
            after is None
            or isinstance(layer, _POOLING)
            or sizes[after] > sizes[index]
            or (
                seen_residual and (sizes[after] != sizes[index] or blocks.has_kernel(layers[after]))
            )
            or (numbers[after] is not None and not isinstance(layer, keras.layers.Concatenate))
        ):
            found.append(index)
            seen_residual = False
    return [layers[index] for index in found if len(outputs[index].shape) in (2, 3, 4)]


def _next_unpadded(layers: Sequence[Any], index: int) -> int | None:
    """Return the index of the next layer that does not pad."""
    later = range(index + 1, len(layers))
    return next((each for each in later if not isinstance(layers[each], _PADDING)), None)


def _cost(steps: Sequence[Step], specs: dict[TensorId, TensorSpec]) -> tuple[int, int]:
    """Return the multiply-adds and the parameters of some steps."""
    work = sum(
        cost.count_multiply_adds(step.operation, specs[step.outputs[0]].shape) for step in steps
    )
    layers = {id(step.operation): step.operation for step in steps}.values()
    return work, sum(layer.count_params() for layer in layers if isinstance(layer, keras.Layer))


# Averaging a whole map discards positions, which features of early layers still have. So each map
# is also pooled into a grid of averages with as many cells as `max_features` allows. A grid of n
# cells per side averages squares of ceil(side / n) pixels, so it may have fewer than n cells. If
# the grid would be as fine as the map, the map is flattened.
def _poolings(
    shape: tuple[int, ...], max_features: int, backbone: keras.Model
) -> Iterator[tuple[Pooling, int]]:
    """Yield the ways to pool maps or tokens of this shape, each with its number of features."""
    layout = feature_extraction.layout_of(backbone, shape)
    if layout is not None:
        if layout.num_prefix_tokens:
            yield "cls", shape[-1]
            yield "cls+avg", 2 * shape[-1]
        yield "avg", shape[-1]
        return
    yield "avg", shape[-1]
    if len(shape) == 2 or shape[1:3] == (1, 1):
        return
    longer = max(shape[1:3])
    cells = min(math.isqrt(max_features // shape[-1]), longer)
    if cells >= longer:
        yield "flatten", math.prod(shape[1:])
    elif cells > 1:
        squares = [-(-length // cells) for length in shape[1:3]]
        sides = [-(-length // square) for length, square in zip(shape[1:3], squares, strict=True)]
        yield cells, math.prod(sides) * shape[-1]
