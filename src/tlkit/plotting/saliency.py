"""What a classifier looks at: Grad-CAM, alone and in a grid; `feature_map` is found here too."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit._internal import arguments
from tlkit._internal.keras_private import nodes_of, operation_of
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.errors import ConfigError
from tlkit.evaluation.evaluator import predict
from tlkit.models.inspection import backbone_of, class_names, probabilities_of
from tlkit.plotting import overlays
from tlkit.plotting.feature_maps import feature_map
from tlkit.plotting.image_grids import check_probabilities, drawable, label
from tlkit.training.inputs import validate_arrays

__all__ = ["feature_map", "grad_cam", "grad_cam_grid"]

_ROWS = 64


def grad_cam(
    model: keras.Model, images: Any, classes: Any = None, *, layer: str | None = None
) -> np.ndarray:
    """Return where in each image the evidence for a class lies, `(count, height, width)`, 0 to 1.

    Grad-CAM: the maps of the backbone's last layer, each weighted by how much it raises the
    class's logit (Selvaraju et al., 2016, arXiv:1610.02391). It runs through the nested backbone.

    Args:
        model: A classifier from build_classifier.
        images: Raw images.
        classes: The class index of each; by default the one that the classifier predicts.
        layer: For a backbone that is read after several layers, which of them; by default the
            last that has maps.

    Raises:
        ConfigError: Keras does not run on TensorFlow, no such layer is read, or its maps have one
            place alone, so that they tell of none.
        DataError: The images don't fit the model.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> grad_cam(model, np.zeros((3, 8, 8, 3), "uint8")).shape
        (3, 8, 8)
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"Grad-CAM needs Keras on TensorFlow, got {keras.backend.backend()!r}. Load the saved "
            "model in a process with KERAS_BACKEND=tensorflow."
        )
    images, _ = validate_arrays((images, np.zeros(len(images), "int64")), model, "images")
    if classes is None:
        classes = predict(model, images).argmax(axis=1)
    tensors = _read(model)
    place = _place(tensors, layer)
    before = keras.Model(model.inputs[0], tensors)
    after = keras.Model(tensors, probabilities_of(model).input)
    heat = partial(_heat, before, after, place)
    starts = range(0, len(images), _ROWS)
    return np.concatenate(
        [heat(images[at : at + _ROWS], classes[at : at + _ROWS]) for at in starts]
    )


def grad_cam_grid(
    model: keras.Model,
    data: Data,
    *,
    count: int = 6,
    columns: int = 3,
    seed: int = 0,
    probabilities: np.ndarray | None = None,
) -> Figure:
    """Draw images and what the classifier looked at: half of them errors, half correct.

    Each is drawn twice: as it is, and in grey under the colours of `grad_cam`. The colours, which
    a scale explains, get brighter with the evidence, also in print and for colour-blind readers;
    a line encloses what is above a half.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form.
        count: How many to draw: half of them those errors that it was most confident of, the
            others correct ones chosen at random. Where there are fewer of a kind, more of the
            other.
        columns: How many a row.
        seed: Chooses the correct ones.
        probabilities: What the model predicts for all the images, where that is known.

    Raises:
        ConfigError: A number is below 1, Keras does not run on TensorFlow, or the backbone gives
            no maps.
        DataError: Images, labels or probabilities don't fit the model or each other.
    """
    arguments.at_least("count", count, 1)
    arguments.at_least("columns", columns, 1)
    names = class_names(model)
    images, labels = validate_arrays(data, model)
    truth = batches.label_indices(labels)
    check_probabilities(probabilities, (len(truth), len(names)))
    found = predict(model, images) if probabilities is None else probabilities
    chosen = _errors_and_others(found, truth, count, seed)
    shown, called = images[chosen], found[chosen].argmax(axis=1)
    heat = grad_cam(model, shown, called)
    figure, panels = overlays.pairs(len(chosen), columns)
    for (above, below), image, index, said, evidence in zip(
        panels, shown, chosen, called, heat, strict=True
    ):
        picture = drawable(image)
        above.imshow(picture, cmap="gray", vmin=0, vmax=1)
        label(above, names[truth[index]], names[said], float(found[index, said]), letters=16)
        overlays.draw(below, picture, evidence)
    return figure


def _errors_and_others(
    probabilities: np.ndarray, truth: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Return the places of the most confident errors, and of as many correct ones at random."""
    called, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(called != truth)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    right = np.random.default_rng(seed).permutation(np.flatnonzero(called == truth))
    errors = max(count // 2, count - len(right))
    wrong = wrong[:errors]
    return np.concatenate([wrong, right[: count - len(wrong)]])


def _read(model: keras.Model) -> list[Any]:
    """Return what the backbone gives to the head, in the classifier's own graph."""
    backbone = backbone_of(model)
    return list(nodes_of(backbone, model)[0].outputs)


def _place(tensors: Sequence[Any], layer: str | None) -> int:
    maps = [place for place, tensor in enumerate(tensors) if len(tensor.shape) == 4]
    if not maps:
        raise ConfigError("Grad-CAM needs a backbone that gives maps, got features alone.")
    if layer is None:
        return maps[-1]
    names = _names(tensors)
    if layer not in [names[place] for place in maps]:
        raise ConfigError(
            f"`layer` must be one that the head reads maps of, {[names[at] for at in maps]}, "
            f"got {layer!r}."
        )
    return names.index(layer)


def _names(tensors: Sequence[Any]) -> list[str]:
    backbone = operation_of(tensors[0])
    return [operation_of(tensor).name for tensor in backbone.outputs]


def _heat(
    before: keras.Model,
    after: keras.Model,
    place: int,
    images: np.ndarray,
    classes: np.ndarray,
) -> np.ndarray:
    import tensorflow as tf

    size = images.shape[1:3]
    given = keras.tree.flatten(before(images, training=False))
    height, width = given[place].shape[1:3]
    if height * width == 1:
        raise ConfigError(
            f"Grad-CAM needs maps of at least 2 places, got 1 x 1: {size[0]} x {size[1]} pixels "
            "are too few for this backbone. Take larger images, or `features` of an earlier layer."
        )
    with tf.GradientTape() as tape:
        tape.watch(given[place])
        logits = after(given, training=False)
        chosen = tf.gather(logits, classes, axis=1, batch_dims=1)
    maps = given[place]
    weights = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
    heat = keras.ops.relu(keras.ops.sum(weights * maps, axis=-1, keepdims=True))
    large = keras.ops.convert_to_numpy(keras.ops.image.resize(heat, size))[..., 0]
    highest = large.max(axis=(1, 2), keepdims=True)
    return np.asarray(large / np.where(highest > 0, highest, 1))
