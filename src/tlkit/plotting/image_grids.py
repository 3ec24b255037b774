"""Grids of pictures with what a classifier says of each, to be read on a phone as on a desk."""

import math
import textwrap
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit._internal import arguments
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.errors import DataError
from tlkit.evaluation.evaluator import predict
from tlkit.models.inspection import class_names, value_range
from tlkit.training.inputs import validate_arrays

RIGHT, WRONG = "#1a5fb4", "#c64600"  # apart for colour-blind readers and in grey
WIDTH = 4.6
"""Inches of a figure: a phone shows them on about 350 of its pixels."""
SMALL = 9.5
"""Points of the smallest text on such a figure."""

_CHOICES = ("confident", "per_class", "random", "worst")
_PANEL = WIDTH / 3
_CAPTION = 0.6  # inches
_LEAST = 1e-12
_LETTERS = 18  # of a caption's line on such a panel


def prediction_grid(
    model: keras.Model,
    data: Data,
    *,
    count: int = 12,
    columns: int = 3,
    which: str = "random",
    seed: int = 0,
    probabilities: np.ndarray | None = None,
) -> Figure:
    """Draw images with true and predicted label; wrong ones are framed and say so.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form; grey images are drawn in grey.
        count: How many to draw; all, where there are fewer.
        columns: How many a row.
        which: "random"; "worst", those whose true class got the least probability; "confident",
            the wrong ones that the classifier was surest of; or "per_class", the same number of
            each class.
        seed: Chooses random ones.
        probabilities: What the model predicts for all the images, where that is known; otherwise
            it is predicted as far as the choice needs it.

    Raises:
        ConfigError: `count` or `columns` is below 1, or there is no such choice.
        DataError: Images, labels or probabilities don't fit the model or each other.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), "uint8")
        >>> len(prediction_grid(model, (images, np.array([0, 1, 0]))).axes)
        3
    """
    arguments.at_least("count", count, 1)
    arguments.at_least("columns", columns, 1)
    names = class_names(model)
    images, labels = validate_arrays(data, model)
    truth = batches.label_indices(labels)
    arguments.one_of("which", which, _CHOICES)
    if probabilities is None and which in ("confident", "worst"):
        probabilities = predict(model, images)
    check_probabilities(probabilities, (len(truth), len(names)))
    chosen = _chosen(truth, probabilities, count=count, which=which, seed=seed)
    if not len(chosen):
        return _note(f"none of {len(images):,} images is misclassified")
    shown = images[chosen]
    rows = predict(model, shown) if probabilities is None else probabilities[chosen]
    bounds = value_range(model) or (float(shown.min()), float(shown.max()))
    figure, panels = _panels(len(chosen), columns)
    for panel, image, index, row in zip(panels, shown, chosen, rows, strict=True):
        panel.imshow(drawable(image, bounds), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        called = names[row.argmax()]
        label(panel, names[truth[index]], called, float(row.max()))
    return figure


def check_probabilities(given: np.ndarray | None, shape: tuple[int, int]) -> None:
    """Refuse probabilities that are not those of all images and classes.

    Args:
        given: The probabilities; None is let through.
        shape: How many images and classes there are.

    Raises:
        DataError: They have another shape.
    """
    if given is not None and given.shape != shape:
        raise DataError(f"`probabilities` must have shape {shape}, got {given.shape}.")


def drawable(image: np.ndarray, bounds: tuple[float, float] | None = None) -> np.ndarray:
    """Return an image within 0 and 1, without a lone channel axis.

    Args:
        image: Its pixels.
        bounds: What black and white are; by default 0 and 255 of bytes, of others the least and
            the largest there are.

    Examples:
        >>> drawable(np.array([[[0], [255]]], "uint8")).tolist()
        [[0.0, 1.0]]
    """
    picture = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if bounds is None:
        own = (float(picture.min()), float(picture.max()))
        bounds = (0.0, 255.0) if picture.dtype == np.uint8 else own
    low, high = bounds
    return np.asarray((picture.astype("float32") - low) / max(high - low, _LEAST))


def fitted(text: str, letters: int) -> str:
    r"""Return text in lines that are short enough for a small picture's caption.

    A number stays with its percent sign.

    Args:
        text: The caption, or a line of it.
        letters: How many a line may have; longer words are broken.

    Examples:
        >>> fitted("WRONG: sunflowers (55 %)", 18)
        'WRONG: sunflowers\n(55 %)'
    """
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), letters)
    return "\n".join(lines).replace("\u00a0%", " %")


def _panels(count: int, columns: int) -> tuple[Figure, Any]:
    """Return a figure with so many panels for pictures, a few a row."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    size = (_PANEL * max(columns, 2), (_PANEL + _CAPTION) * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in panels[count:]:
        empty.remove()
    return figure, panels[:count]


def _note(text: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.8))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _chosen(
    truth: np.ndarray, probabilities: Any, *, count: int, which: str, seed: int
) -> np.ndarray:
    """Return which images to draw; only two of the choices need the probabilities."""
    random = np.random.default_rng(seed)
    if which == "random":
        return random.choice(len(truth), size=min(count, len(truth)), replace=False)
    if which == "per_class":
        shuffled = random.permutation(len(truth))
        each = max(count // len(np.unique(truth)), 1)
        parts = [shuffled[truth[shuffled] == label][:each] for label in np.unique(truth)]
        return np.concatenate(parts)
    if which == "worst":
        true = probabilities[np.arange(len(truth)), truth]
        return np.argsort(true, kind="stable")[:count]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]


def label(
    panel: Any, truth: str, called: str, probability: float, *, letters: int = _LETTERS
) -> None:
    """Write what a picture is and what it was predicted as above it; frame it where that is wrong.

    Args:
        panel: The axes that it is drawn on.
        truth: The true class.
        called: The predicted class.
        probability: Of the predicted class.
        letters: How many a line may have; in bold, two fewer.
    """
    wrong = truth != called
    said = f"{'WRONG: ' if wrong else 'predicted '}{called} ({100 * probability:.0f} %)"
    panel.set_title(
        "\n".join(fitted(line, letters - 2 * wrong) for line in (f"true {truth}", said)),
        fontsize=SMALL,
        color=WRONG if wrong else RIGHT,
        fontweight="bold" if wrong else "normal",
        parse_math=False,
    )
    panel.set_xticks([])
    panel.set_yticks([])
    for edge in panel.spines.values():
        edge.set(color=WRONG if wrong else "0.8", linewidth=3 if wrong else 0.8)
