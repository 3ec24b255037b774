"""A map of images, placed by the features that the head reads: similar images are close."""

import math
import time
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.errors import DataError
from tlkit.models.inspection import class_names, head_of, is_multi_label
from tlkit.models.own_predictions import run_on_batch
from tlkit.plotting.captions import FONT_SIZE, WIDTH
from tlkit.plotting.figure import Figure
from tlkit.plotting.labels import display_width, finish, shorten_names
from tlkit.training.inputs import validate_arrays

Method = Literal["pca", "tsne"]
"""How `feature_map` reduces features to two dimensions."""

_METHOD_NAMES = {"pca": "PCA", "tsne": "t-SNE"}
_BATCH_SIZE = 64
_LINE_LENGTH = 54  # characters per line of the legend
_MAX_DIMENSIONS = 50  # for t-SNE, as its authors advise
_MAX_PERPLEXITY = 30
_MARKERS = "osD^vP*X<>"
# Found by a search: each colour is the furthest from those before it, among colours whose contrast
# is at least 3 on a light page and, inverted, on a dark page. The distance of two colours is the
# smallest of three in OKLab: on a light page, on a dark page and with deuteranopia.
_COLOURS = (
    "#0078A8",
    "#F04800",
    "#0000A8",
    "#484800",
    "#F048D8",
    "#480048",
    "#906060",
    "#900060",
    "#9000F0",
    "#00A878",
    "#4890F0",
    "#603090",
    "#481800",
    "#000060",
    "#9078A8",
    "#309000",
    "#0048C0",
    "#004848",
    "#A81830",
    "#180018",
)


@check_arguments
def feature_map(
    model: keras.Model,
    data: Data,
    *,
    method: Method = "pca",
    max_images: int = 1000,
    seed: int = 0,
    max_seconds: float | None = None,
) -> Figure:
    """Draw each image as a point, placed by the features that the head reads.

    Args:
        model: A classifier from build_classifier whose head is one dense layer.
        data: Images and labels in any form.
        method: "pca", the two directions of most variance, or "tsne", which preserves neighbours
            but not distances.
        max_images: The maximum number of images to draw, chosen at random.
        seed: The seed of the choice and of t-SNE.
        max_seconds: The time in seconds after which no more images are read; those read so far are
            drawn. None reads all.

    Raises:
        ConfigError: The head is more than one dense layer, or `method` is unknown.
        DataError: Images or labels don't fit the model, or it is multi-label.
    """
    arguments.one_of("method", method, get_args(Method))
    if is_multi_label(model):
        raise DataError(
            "`model` must have classes that exclude each other for a map, in which each image has "
            "the colour of its class, got a multi-label classifier."
        )
    images, labels = validate_arrays(data, model)
    truth = batches.label_indices(labels)
    chosen = np.random.default_rng(seed).permutation(len(truth))[:max_images]
    reader = keras.Model(model.inputs[0], head_of(model).input)
    features = _read_features(reader, images, chosen, max_seconds)
    truth = truth[chosen[: len(features)]]
    return draw_map(features, truth, class_names(model), method=method, seed=seed)


def draw_map(
    features: np.ndarray,
    truth: np.ndarray,
    class_names: Sequence[str],
    *,
    method: Method = "pca",
    seed: int = 0,
) -> Figure:
    """Draw each image as a point, placed by its features.

    Args:
        features: The features that the head reads of each image, `(count, features)`.
        truth: The class index of each image, `(count,)`.
        class_names: The names of all classes.
        method: As for `feature_map`.
        seed: As for `feature_map`.
    """
    names = shorten_names(class_names, _LINE_LENGTH - 4)
    points, axis_labels = _reduce(features, method, seed)
    columns = min(3, max(1, _LINE_LENGTH // (max(map(display_width, names)) + 4)))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTH, WIDTH + 0.2 * lines), layout="constrained")
    panel = figure.subplots()
    for index in range(len(names)):
        _scatter(panel, points[truth == index], index)
    panel.set(xticks=[], yticks=[], xlabel=axis_labels[0], ylabel=axis_labels[1])
    title = f"{len(points):,} images, features by {_METHOD_NAMES[method]}"
    panel.set_title(title, fontsize=10)
    style = {"fontsize": FONT_SIZE, "handletextpad": 0.2, "markerscale": 1.5}
    legend = figure.legend(loc="outside lower center", ncols=columns, **style)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # a label that begins with "_" would be left out of the legend
    return finish(figure)


def _read_features(
    reader: keras.Model, images: Any, chosen: np.ndarray, max_seconds: float | None
) -> np.ndarray:
    """Return the features of the chosen images, or of the first of them when time runs out."""
    features: list[np.ndarray] = []
    end = math.inf if max_seconds is None else time.monotonic() + max_seconds
    for at in range(0, len(chosen), _BATCH_SIZE):
        if features and time.monotonic() > end:
            break
        features.append(np.asarray(run_on_batch(reader, images[chosen[at : at + _BATCH_SIZE]])))
    return np.concatenate(features)


def _scatter(panel: Any, points: np.ndarray, index: int) -> None:
    panel.scatter(
        points[:, 0],
        points[:, 1],
        18,
        marker=_MARKERS[(index + index // len(_COLOURS)) % len(_MARKERS)],
        color=_COLOURS[index % len(_COLOURS)],
        linewidths=0,
        label=str(index),
    )


def _reduce(features: np.ndarray, method: Method, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return features in two dimensions, `(count, 2)`, and the labels of the two axes."""
    from sklearn.decomposition import PCA  # importing it takes most of a second

    if method == "pca":
        pca = PCA(2, random_state=seed)
        points = np.asarray(pca.fit_transform(features))
        first, second = (100 * share for share in pca.explained_variance_ratio_)
        return points, [
            f"first component, {first:.0f} % of variance",
            f"second component, {second:.0f} % of variance",
        ]
    if min(features.shape) > _MAX_DIMENSIONS:
        features = PCA(_MAX_DIMENSIONS, random_state=seed).fit_transform(features)
    from sklearn.manifold import TSNE

    perplexity = min(_MAX_PERPLEXITY, max(len(features) // 4, 1))
    tsne = TSNE(2, random_state=seed, perplexity=perplexity)
    return np.asarray(tsne.fit_transform(features)), ["", ""]
