"""The maps that Grad-CAM explains: the last ones that the head reads, or finer ones before them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit._internal.keras_private import nodes_of, operation_of
from tlkit._internal.text import show
from tlkit.caching.partition import select_needed
from tlkit.errors import ConfigError
from tlkit.models import flat_graph
from tlkit.models.flat_graph import Graph, Step, TensorId
from tlkit.models.inspection import backbone_of, probabilities_of
from tlkit.models.token_backbone import TokenBackbone
from tlkit.plotting import token_saliency

MIN_CELLS = 5
"""Maps with fewer rows or columns are replaced by those of an earlier layer."""

_MAX_FINER = 2  # times as many rows: layers of more detail are early and see edges, not parts
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


@dataclass(frozen=True, eq=False)
class Explainer:
    """A function that computes evidence, and the maps that it uses.

    Attributes:
        compute: Returns the evidence, `(count, height, width)`, of images for their classes.
        grid: The rows and columns of the maps; None for patch tokens.
    """

    compute: Callable[[np.ndarray, np.ndarray], np.ndarray]
    grid: tuple[int, int] | None


def prepare(
    model: keras.Model, image: np.ndarray, label: np.ndarray, layer: str | None
) -> Explainer:
    """Return the explainer of a classifier.

    Args:
        model: The classifier.
        image: A batch of one image, of the size of those to explain.
        label: The class index of this image, `(1,)`.
        layer: The layer whose maps to use; None chooses.

    Raises:
        ConfigError: The head does not read this layer, or there are no maps of several positions.
    """
    tensors = _backbone_outputs(model)
    index = _index_of_maps(tensors, layer)
    if isinstance(backbone_of(model), TokenBackbone):
        return Explainer(token_saliency.prepare(model, index, image, label), None)
    if index is None:
        raise ConfigError("Grad-CAM needs a backbone that returns maps, got only features.")
    backbone = keras.Model(model.inputs[0], tensors)
    head = keras.Model(tensors, probabilities_of(model).input)
    rows, columns = keras.tree.flatten(backbone(image, training=False))[index].shape[1:3]
    if rows * columns == 1:
        height, width = image.shape[1:3]
        raise ConfigError(
            f"Grad-CAM needs maps of at least 2 positions, got 1 x 1 from images of {height} x "
            f"{width} pixels. Use larger images, or `features` of an earlier layer."
        )
    is_coarse = layer is None and min(rows, columns) < MIN_CELLS
    finer = _find_finer(model, image, _MAX_FINER * max(rows, columns)) if is_coarse else None
    return finer or Explainer(partial(_compute_heat, backbone, head, index), (rows, columns))


def _backbone_outputs(model: keras.Model) -> list[Any]:
    """Return the tensors that the head reads, in the classifier's own graph."""
    return list(nodes_of(backbone_of(model), model)[0].outputs)


def _index_of_maps(tensors: Sequence[Any], layer: str | None) -> int | None:
    maps = [index for index, tensor in enumerate(tensors) if len(tensor.shape) in (3, 4)]
    if layer is None:
        return maps[-1] if maps else None
    names = [operation_of(tensor).name for tensor in operation_of(tensors[0]).outputs]
    if layer not in [names[index] for index in maps]:
        raise ConfigError(
            "`layer` must be one whose maps the head reads, "
            f"{[names[index] for index in maps]}, got {show(layer)}."
        )
    return names.index(layer)


# The classifier is computed in two halves, to get the gradient of the class's logit with respect to
# the maps between them. The gradient, averaged over positions, measures how much each map raises
# the logit. The maps are summed with these weights, resized to the image and scaled to at most 1.
def _compute_heat(
    backbone: keras.Model,
    head: keras.Model,
    index: int,
    images: np.ndarray,
    classes: np.ndarray,
) -> np.ndarray:
    features = keras.tree.flatten(backbone(images, training=False))
    maps = features[index]

    def classify(tensor: Any) -> Any:
        return head([*features[:index], tensor, *features[index + 1 :]], training=False)

    gradient = token_saliency.differentiate(classify, maps, classes)
    return token_saliency.weigh(maps, gradient, images.shape[1:3])


# The last maps of small images have few cells: 3 x 3 of images of 96 pixels. Then the last finer
# maps are explained that everything after them depends on: no tensor from before them is read by
# a layer after them, as that of a residual connection would be. So the gradient of the logit with
# respect to them counts all ways from the image to the logit. Maps with a padded border are left
# out, because they don't cover the image evenly.
def _find_finer(model: keras.Model, image: np.ndarray, max_cells: int) -> Explainer | None:
    """Return the explainer of the last maps of enough cells a side, and not too many, or None."""
    graph = flat_graph.flatten(model)
    output = next(step for step in graph.steps if step.operation is probabilities_of(model))
    logits = output.inputs[0]
    steps = select_needed(graph.steps, [logits])
    specs = flat_graph.find_specs(model, graph, image)
    for step in reversed(_list_bottlenecks(graph, steps)):
        shape = specs[step.outputs[0]].shape
        is_padded = isinstance(step.operation, keras.layers.ZeroPadding2D)
        if len(shape) < 4 or is_padded:
            continue
        if min(shape[1:3]) >= MIN_CELLS and max(shape[1:3]) <= max_cells:
            halves = token_saliency.divide(model, graph, step.outputs[0], logits)
            return Explainer(partial(token_saliency.compute_heat, halves), (shape[1], shape[2]))
    return None


def _list_bottlenecks(graph: Graph, steps: Sequence[Step]) -> list[Step]:
    """Return the steps, from the first convolution on, whose output alone is read by later ones."""
    last_read = {tensor: at for at, step in enumerate(steps) for tensor in step.inputs}
    made: list[TensorId] = list(graph.inputs)
    found, is_inside = [], False
    for at, step in enumerate(steps):
        made.extend(step.outputs)
        is_inside = is_inside or isinstance(step.operation, _CONVOLUTIONS)
        crossing = [tensor for tensor in made if last_read.get(tensor, -1) > at]
        if is_inside and crossing == [*step.outputs]:
            found.append(step)
    return found
