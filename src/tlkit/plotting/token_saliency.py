"""Grad-CAM for backbones that return tokens: their patches are used as positions of a map."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit._internal import gradients
from tlkit._internal.keras_private import operation_of
from tlkit.caching.partition import select_needed
from tlkit.errors import ConfigError
from tlkit.models import flat_graph
from tlkit.models.feature_extraction import layout_of
from tlkit.models.flat_graph import Graph, Part, TensorId
from tlkit.models.inspection import backbone_of, probabilities_of
from tlkit.models.transformer_blocks import is_attention, is_block


@dataclass(frozen=True, eq=False)
class Halves:
    """A classifier in two parts.

    Attributes:
        before: Computes, as its first output, the tensor to explain.
        after: Computes the logits from the outputs of `before`.
        to_maps: Returns the tensor as maps.
    """

    before: Part
    after: Part
    to_maps: Callable[[Any], Any]


# Which tokens explain a prediction? If the head reads patches, the tokens that it reads. A head on
# the class token alone reads no patch, so the gradient of the logit with respect to the last
# patches is zero. The class token depends on the patches through the attention layers. So the
# tokens that enter the last block with attention are explained instead, as is usual for ViTs. This
# works also for a backbone that pools its tokens by attention, such as SigLIP.
def prepare(
    model: keras.Model, index: int | None, image: np.ndarray, label: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that computes the heat of images for their classes.

    Args:
        model: A classifier with a TokenBackbone.
        index: The index of the backbone's output to explain; None if it returns only features.
        image: A batch of one image, to find tokens that its prediction depends on.
        label: The class index of this image, `(1,)`.

    Raises:
        ConfigError: The rows and columns of the backbone's patches are unknown.
    """
    backbone = backbone_of(model)
    graph = flat_graph.flatten(model)
    ends = {id(step.operation): step.outputs[0] for step in graph.steps}
    output = ends[id(operation_of(backbone.outputs[index or 0]))]
    reading = [
        step.inputs[0]
        for step in select_needed(graph.steps, [output])
        if is_block(step.operation) or is_attention(step.operation)
    ]
    logits = next(step for step in graph.steps if step.operation is probabilities_of(model))
    for target in [*([] if index is None else [output]), *reversed(reading)]:
        halves = divide(model, graph, target, logits.inputs[0])
        if np.any(halves.to_maps(_differentiate(halves, image, label)[1])):
            break

    return partial(compute_heat, halves)


def divide(model: keras.Model, graph: Graph, target: TensorId, logits: TensorId) -> Halves:
    """Return a classifier in two parts, before and after a tensor.

    Args:
        model: The classifier.
        graph: Its graph.
        target: The tensor to explain.
        logits: The tensor of the logits.
    """
    first = select_needed(graph.steps, [target])
    last = [step for step in select_needed(graph.steps, [logits]) if step not in first]
    made = {tensor for step in last for tensor in step.outputs}
    used = dict.fromkeys(tensor for step in last for tensor in step.inputs)
    crossing = [target, *(each for each in used if each not in made and each != target)]
    dtype, backbone = model.inputs[0].dtype, backbone_of(model)
    return Halves(
        Part(first, graph.inputs, crossing, input_dtype=dtype, name="before"),
        Part(last, crossing, [logits], name="after"),
        lambda tokens: _to_maps(backbone, tokens),
    )


def compute_heat(halves: Halves, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the evidence of images for their classes, `(count, height, width)`.

    Args:
        halves: The classifier in two parts.
        images: The images, of one size.
        classes: The class index of each image.
    """
    maps, gradient = map(halves.to_maps, _differentiate(halves, images, classes))
    return weigh(maps, gradient, images.shape[1:3])


def _differentiate(halves: Halves, images: np.ndarray, classes: np.ndarray) -> tuple[Any, Any]:
    """Return the tensor to explain, and the gradient of the classes' logits with respect to it."""
    tokens, *others = halves.before(images, training=False)

    def classify(tensor: Any) -> Any:
        (logits,) = halves.after([tensor, *others], training=False)
        return logits

    return tokens, differentiate(classify, tokens, classes)


def differentiate(classify: Callable[[Any], Any], tensor: Any, classes: np.ndarray) -> Any:
    """Return the gradient of the logit of each image's class with respect to the image's tensor.

    Args:
        classify: Returns the logits of a batch, `(count, classes)`.
        tensor: The input of `classify`, with the batch axis first.
        classes: The class index of each image, `(count,)`.
    """
    indices = keras.ops.convert_to_tensor(classes[:, None], "int32")

    def add_logits(tensor: Any) -> Any:  # a logit depends on its own image only, so a sum is enough
        return keras.ops.sum(keras.ops.take_along_axis(classify(tensor), indices, axis=1))

    return gradients.compute_gradient(add_logits, tensor)


def _to_maps(backbone: keras.Model, tokens: Any) -> Any:
    """Return the patches of tokens as maps; return maps unchanged."""
    if len(tokens.shape) == 4:
        return tokens
    layout = layout_of(backbone, tokens.shape)
    if layout is None or layout.grid is None:
        raise ConfigError(
            f"Grad-CAM needs the rows and columns of patches, and those of {backbone.name!r} are "
            f"unknown: its tokens have shape {tuple(tokens.shape[1:])}. Set `num_prefix_tokens` of "
            "build_classifier."
        )
    patches = tokens[:, layout.num_prefix_tokens :]
    return keras.ops.reshape(patches, (-1, *layout.grid, tokens.shape[-1]))


def weigh(maps: Any, gradient: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the sum of maps weighted by their mean gradients, resized to `size`, from 0 to 1.

    Negative sums are evidence for other classes, so they become 0.
    """
    weights = keras.ops.mean(gradient, axis=(1, 2), keepdims=True)
    heat = keras.ops.relu(keras.ops.sum(weights * maps, axis=-1, keepdims=True))
    heat = keras.ops.cast(heat, "float32")
    resized = keras.ops.image.resize(heat, size, data_format="channels_last")
    resized = keras.ops.convert_to_numpy(resized)[..., 0]
    highest = resized.max(axis=(1, 2), keepdims=True)
    return np.asarray(resized / np.where(highest > 0, highest, 1))
