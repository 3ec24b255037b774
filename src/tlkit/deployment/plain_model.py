"""A classifier as a Keras model without layers of tlkit, with its out-of-distribution score."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit.deployment.metadata import INPUT, OUTPUT, SCORE
from tlkit.errors import ConfigError
from tlkit.models.inspection import features_of, file_shape, probabilities_of
from tlkit.models.layers import ClassProbabilities, GrayToRGBResize
from tlkit.models.token_backbone import TokenBackbone
from tlkit.training import ood_detector
from tlkit.training.ood_detector import OODDetector


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainModel:
    """A classifier built from Keras' own layers, whole and in two parts.

    Attributes:
        whole: From images to a dict: `probabilities`, `(batch, classes)`, and, if the classifier
            was fitted to its training images, `ood_score`, `(batch,)`.
        body: From images to the features that the head reads.
        head: From features to the same dict.
    """

    whole: keras.Model
    body: keras.Model
    head: keras.Model


def to_plain(model: keras.Model, *, dtype: str, with_score: bool = True) -> PlainModel:
    """Return a classifier with Keras' own layers only, which shares the weights of the model.

    Args:
        model: A classifier from build_classifier.
        dtype: The dtype of the images.
        with_score: Whether the out-of-distribution score is an output, if the classifier has it.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> plain = to_plain(model, dtype="uint8").whole
        >>> sorted(plain.predict_on_batch(np.zeros((1, 9, 9, 3), "uint8")))
        ['probabilities']
    """
    images = keras.Input(file_shape(model)[1:], dtype=dtype, name=INPUT)
    plain = keras.models.clone_model(
        keras.Model(model.inputs, [model.outputs[0], _find_features(model)]),
        input_tensors=[images],
        clone_function=lambda layer: layer,
        call_function=_call,
    )
    probabilities, features = plain.outputs
    named = {OUTPUT: probabilities}
    detector = find_detector(model) if with_score else None
    if detector is not None:
        named[SCORE] = _add_score(detector, features)
    return PlainModel(
        whole=keras.Model(images, named, name=model.name),
        body=keras.Model(images, features),
        head=keras.Model(features, named),
    )


def _find_features(model: keras.Model) -> Any:
    """Return the tensor that the head reads; the logits if the head is not one linear layer."""
    try:
        return features_of(model).outputs[0]
    except ConfigError:
        return probabilities_of(model).input


def find_detector(model: keras.Model) -> OODDetector | None:
    """Return the detector of images unlike the training images; None without a detector."""
    return ood_detector.from_arrays(probabilities_of(model).stored)


def _call(layer: Any, *inputs: Any, **arguments: Any) -> Any:
    """Call a layer; call the parts of a layer of tlkit, so that only these are in the graph."""
    if isinstance(layer, TokenBackbone):
        return keras.Model(layer.inputs, layer.outputs, name=layer.name)(*inputs, **arguments)
    if isinstance(layer, ClassProbabilities):
        return layer.call(keras.ops.cast(inputs[0], "float32"))
    if isinstance(layer, GrayToRGBResize):
        return layer.call(*inputs)
    return layer(*inputs, **arguments)


# The same computation as `OODDetector.measure` and `score`. A matrix product is a dense layer,
# because a file stores its weights in binary; other constants are text in the file's config. The
# share of training images that are nearer is the mean of comparisons with each of their distances.
def _add_score(detector: OODDetector, features: Any) -> Any:
    """Return the out-of-distribution score as a Keras tensor, `(batch,)`."""
    ops = keras.ops
    centred = ops.cast(features, "float32") - detector.mean
    whole = _product(centred, detector.projection, "ood_projection")
    squares = ops.square(whole)
    inside = ops.sum(squares, axis=1, keepdims=True)
    lengths = ops.sum(ops.square(centred * (1 / detector.scale)), axis=1, keepdims=True)
    explained = ops.sum(squares * detector.variances, axis=1, keepdims=True)
    residual = ops.maximum(lengths - explained, 0.0)
    within = _product(whole, detector.whitening, "ood_whitening")
    products = _product(within, -2 * detector.centres.T, "ood_centres")
    classes = ops.sum(ops.square(within), axis=1, keepdims=True) + products
    classes = ops.maximum(classes + (detector.centres**2).sum(axis=1), 0.0)
    two = -ops.top_k(-classes, min(2, len(detector.centres)))[0]
    nearest, following = two[:, :1], two[:, -1:]
    from_mean = inside + residual * float(1 / detector.residual_variance)
    ratio = nearest / ops.maximum(following, float(np.finfo("float32").tiny))
    distances = ops.concatenate([nearest - inside, from_mean, ratio], axis=1)
    median, spread = detector.standard
    each = (distances - median) * (1 / spread)
    largest = ops.max(each, axis=1, keepdims=True)
    total = ops.sum(ops.exp(each - largest), axis=1, keepdims=True)
    nearer = ops.less(detector.distances, largest + ops.log(total))
    return ops.mean(ops.cast(nearer, "float32"), axis=1)


def _product(rows: Any, matrix: np.ndarray, name: str) -> Any:
    layer = keras.layers.Dense(matrix.shape[1], use_bias=False, dtype="float32", name=name)
    product = layer(rows)
    layer.set_weights([matrix])
    return product
