"""What a classifier looks at, and how its features lie: Grad-CAM, and a map of the images."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit import _checks, data, solved
from tlkit.classifier import backbone_of, checked, class_names, probabilities_of
from tlkit.errors import ConfigError
from tlkit.evaluation import predict

METHODS = ("pca", "tsne")
_ROWS = 64
_MARKERS = "osD^vP*X<>"
# Okabe and Ito's colours, apart for colour-blind readers
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D00", "#000000")


def grad_cam(
    model: keras.Model, images: Any, classes: Any = None, *, layer: str | None = None
) -> np.ndarray:
    """Return where in each image the evidence for a class lies, `(count, height, width)`, 0 to 1.

    Grad-CAM: the maps of the backbone's last layer, each weighted by how much it raises the
    class's logit (Selvaraju et al., 2016, arXiv:1610.02391). It runs through the nested backbone.

    Args:
        model: A classifier from build_classifier.
        images: Raw images.
        classes: The class index of each; by default the one that the classifier calls.
        layer: For a backbone that is read after several layers, which of them; by default the
            last that has maps.

    Raises:
        ConfigError: Keras does not run on TensorFlow, or no such layer is read.
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
    images, _ = checked((images, np.zeros(len(images), "int64")), model, "images")
    if classes is None:
        classes = predict(model, images).argmax(axis=1)
    tensors = _read(model)
    place = _place(tensors, layer)
    before = keras.Model(model.inputs, tensors)
    after = keras.Model(tensors, probabilities_of(model).input)
    size = images.shape[1:3]
    return np.concatenate(
        [
            _heat(before, after, place, images[at : at + _ROWS], classes[at : at + _ROWS], size)
            for at in range(0, len(images), _ROWS)
        ]
    )


def grad_cam_grid(
    model: keras.Model, images: Any, labels: Any, *, count: int = 10, columns: int = 5
) -> Figure:
    """Draw images with what the classifier looked at, where its call was most wrong.

    Each is drawn twice: as it is, and dark where nothing speaks for what was called.

    Args:
        model: A classifier from build_classifier.
        images: Test images the model takes.
        labels: Their labels, integers or one-hot.
        count: How many to draw, those whose true class got the least probability.
        columns: How many a row.

    Raises:
        ConfigError: A number is below 1, or Keras does not run on TensorFlow.
        DataError: Images or labels don't fit the model.
    """
    _checks.at_least("count", count, 1)
    _checks.at_least("columns", columns, 1)
    names = class_names(model)
    images, given = checked((images, labels), model, "test")
    truth = data.label_indices(given)
    probabilities = predict(model, images)
    true = probabilities[np.arange(len(truth)), truth]
    chosen = np.argsort(true, kind="stable")[:count]
    shown = images[chosen]
    called = probabilities[chosen].argmax(axis=1)
    heat = grad_cam(model, shown, called)
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(1.9 * columns, 4.1 * rows), layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for panel in panels.ravel():
        panel.axis("off")
    for number, index in enumerate(chosen):
        row, column = divmod(number, columns)
        picture = _unit(shown[number])
        above, below = panels[2 * row, column], panels[2 * row + 1, column]
        above.imshow(picture, vmin=0, vmax=1)
        above.set_title(
            f"true {names[truth[index]]}\ncalled {names[called[number]]}",
            fontsize=8,
            parse_math=False,
        )
        below.imshow(picture * (0.15 + 0.85 * heat[number][..., None]), vmin=0, vmax=1)
    return figure


def feature_map(
    model: keras.Model,
    images: Any,
    labels: Any,
    *,
    method: str = "pca",
    most: int = 1000,
    seed: int = 0,
) -> Figure:
    """Draw what the head reads of each image as a point; images that look alike to it lie close.

    Args:
        model: A classifier from build_classifier with one dense head.
        images: Images the model takes.
        labels: Their labels, integers or one-hot.
        method: "pca", or "tsne", which shows groups but no distances between them.
        most: How many images to draw at most, chosen by chance.
        seed: Chooses them, and begins t-SNE.

    Raises:
        ConfigError: There is no such method, or the head is not one dense layer.
        DataError: Images or labels don't fit the model.
    """
    _checks.one_of("method", method, METHODS)
    names = class_names(model)
    images, given = checked((images, labels), model, "images")
    truth = data.label_indices(given)
    chosen = np.random.default_rng(seed).permutation(len(truth))[:most]
    reader = keras.Model(model.inputs, solved.head_of(model).input)
    features = np.concatenate(
        [
            np.asarray(reader.predict_on_batch(images[chosen[at : at + _ROWS]]))
            for at in range(0, len(chosen), _ROWS)
        ]
    )
    points = _flat(features, method, seed)
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    panel = figure.subplots()
    for index, name in enumerate(names):
        mine = points[truth[chosen] == index]
        panel.scatter(
            mine[:, 0],
            mine[:, 1],
            14,
            marker=_MARKERS[index % len(_MARKERS)],
            color=_COLOURS[index % len(_COLOURS)],
            alpha=0.7,
            linewidths=0,
            label=name,
        )
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_title(f"{len(chosen):,} images, features by {method.upper()}", fontsize=10)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _read(model: keras.Model) -> list[Any]:
    """Return what the backbone gives to the head, in the classifier's own graph."""
    backbone = backbone_of(model)
    nodes = {id(node) for several in model._nodes_by_depth.values() for node in several}
    node = next(node for node in backbone._inbound_nodes if id(node) in nodes)
    return list(node.outputs)


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
    backbone = tensors[0]._keras_history.operation
    return [tensor._keras_history.operation.name for tensor in backbone.outputs]


def _heat(
    before: keras.Model,
    after: keras.Model,
    place: int,
    images: np.ndarray,
    classes: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    import tensorflow as tf

    given = keras.tree.flatten(before(images, training=False))
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


def _unit(image: np.ndarray) -> np.ndarray:
    """Return an image as RGB within 0 and 1."""
    low, high = (0.0, 255.0) if image.dtype == np.uint8 else (image.min(), image.max())
    picture = (image.astype("float64") - low) / max(high - low, 1e-12)
    picture = picture[..., None] if picture.ndim == 2 else picture[..., :3]
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _flat(features: np.ndarray, method: str, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA  # each costs most of a second to import
    from sklearn.manifold import TSNE

    if method == "pca":
        return np.asarray(PCA(2, random_state=seed).fit_transform(features))
    near = min(30, max(len(features) // 4, 1))
    return np.asarray(TSNE(2, random_state=seed, perplexity=near).fit_transform(features))
