"""A map of images by what the head reads of them: those that it takes for alike lie close."""

import math
import textwrap
import time
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit._internal import arguments
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.models.inspection import class_names, head_of
from tlkit.plotting.image_grids import SMALL, WIDTH
from tlkit.training.inputs import validate_arrays

_ROWS = 64  # images read at a time
METHODS = {"pca": "PCA", "tsne": "t-SNE"}
_LETTERS = 54  # of a line of the map's legend
_DIMENSIONS = 50  # that t-SNE gets, as its authors advise
_MARKERS = "osD^vP*X<>"
# Okabe and Ito's colours, apart for colour-blind readers
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D00", "#000000")


def feature_map(
    model: keras.Model,
    data: Data,
    *,
    method: str = "pca",
    most: int = 1000,
    seed: int = 0,
    seconds: float | None = None,
) -> Figure:
    """Draw what the head reads of each image as a point; images that look alike to it lie close.

    Args:
        model: A classifier from build_classifier with one dense head.
        data: Images and labels in any form.
        method: "pca", the two directions of most variance, or "tsne", which keeps neighbours
            together and distances not.
        most: How many images at most, chosen at random.
        seed: Chooses them, and lays out t-SNE.
        seconds: After so long no more images are read, and the map is made of those that were;
            None reads all.

    Raises:
        ConfigError: The head is more than one dense layer, or there is no such method.
        DataError: Images or labels don't fit the model.
    """
    arguments.one_of("method", method, METHODS)
    names = class_names(model)
    images, labels = validate_arrays(data, model)
    truth = batches.label_indices(labels)
    chosen = np.random.default_rng(seed).permutation(len(truth))[:most]
    reader = keras.Model(model.inputs[0], head_of(model).input)
    features = _read_features(reader, images, chosen, seconds)
    chosen = chosen[: len(features)]
    points, axes = _flat(features, method, seed)
    columns = min(3, max(1, _LETTERS // (max(map(len, names)) + 4)))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTH, WIDTH + 0.2 * lines), layout="constrained")
    panel = figure.subplots()
    for index, name in enumerate(names):
        _scatter(panel, points[truth[chosen] == index], index, name)
    panel.set(xticks=[], yticks=[], xlabel=axes[0], ylabel=axes[1])
    title = f"{len(chosen):,} images, features by {METHODS[method]}"
    panel.set_title(title, fontsize=10)
    style = {"fontsize": SMALL, "handletextpad": 0.2, "markerscale": 1.5}
    figure.legend(loc="outside lower center", ncols=columns, **style)
    return figure


def _read_features(
    reader: keras.Model, images: Any, chosen: np.ndarray, seconds: float | None
) -> np.ndarray:
    """Return the features of the first images chosen, as many as are read in time."""
    found: list[np.ndarray] = []
    end = math.inf if seconds is None else time.monotonic() + seconds
    for at in range(0, len(chosen), _ROWS):
        if found and time.monotonic() > end:
            break
        found.append(np.asarray(reader.predict_on_batch(images[chosen[at : at + _ROWS]])))
    return np.concatenate(found)


def _scatter(panel: Any, points: np.ndarray, index: int, name: str) -> None:
    panel.scatter(
        points[:, 0],
        points[:, 1],
        18,
        marker=_MARKERS[index % len(_MARKERS)],
        color=_COLOURS[index % len(_COLOURS)],
        alpha=0.75,
        linewidths=0,
        label=textwrap.shorten(name, _LETTERS - 4, placeholder="...").replace("$", r"\$"),
    )


def _flat(features: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return two numbers for each image, and what they are."""
    from sklearn.decomposition import PCA  # each costs most of a second to import
    from sklearn.manifold import TSNE

    if method == "pca":
        found = PCA(2, random_state=seed)
        points = np.asarray(found.fit_transform(features))
        named = zip(("first", "second"), found.explained_variance_ratio_, strict=True)
        return points, [
            f"{name} component, {100 * share:.0f} % of variance" for name, share in named
        ]
    if min(features.shape) > _DIMENSIONS:
        features = PCA(_DIMENSIONS, random_state=seed).fit_transform(features)
    near = min(30, max(len(features) // 4, 1))
    points = np.asarray(TSNE(2, random_state=seed, perplexity=near).fit_transform(features))
    return points, ["", ""]
