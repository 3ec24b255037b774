"""Grids of images with their true and predicted class, legible on a phone and on a desk."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Literal, get_args

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.errors import DataError
from tlkit.evaluation.evaluator import predict
from tlkit.evaluation.label_audit import Audit, Suspect, image_name
from tlkit.models.inspection import class_names, is_multi_label, thresholds, value_range
from tlkit.plotting.label_sets import LabelErrors, choose_images
from tlkit.plotting.labels import display_width, finish, shorten, shorten_names
from tlkit.training.inputs import true_labels, validate_arrays

CORRECT, WRONG = "#1a5fb4", "#c64600"  # distinct for colour-blind readers and in grey
WIDTH = 4.6
"""Inches of a figure: a phone shows them on about 350 of its pixels."""
FONT_SIZE = 9.0
"""Points of the smallest text on such a figure."""

Choice = Literal["confident", "per_class", "random", "worst", "wrong"]
"""Which images `prediction_grid` draws."""

PANEL = WIDTH / 3
"""Inches of a panel of which three are in a row."""

_CAPTION = 0.6  # inches
_MIN_RANGE = 1e-12
_LINE_LENGTH = 19  # characters in a line of a caption
_BOLD_LENGTH = _LINE_LENGTH - 2
_MAX_NAMED = 3  # classes in a caption


@check_arguments
def prediction_grid(
    model: keras.Model,
    data: Data,
    *,
    count: int = 12,
    columns: int = 3,
    which: Choice = "random",
    seed: int = 0,
    probabilities: np.ndarray | None = None,
) -> Figure:
    """Draw images with their true and predicted class; misclassified ones have a frame.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form; grey images are drawn in grey.
        count: How many images to draw at most.
        columns: Images a row.
        which: "random"; "worst", the images with the lowest probability of their true class;
            "wrong", a random choice of the misclassified images; "confident", those with the
            highest confidence; or "per_class", the same number of each class. Of a multi-label
            classifier, "worst" are the images with the highest loss, and "confident" those with the
            probability that is furthest on the wrong side of its threshold.
        seed: The seed of a random choice.
        probabilities: The predicted probabilities of all images, if they are known; by default
            they are predicted as far as needed.

    Raises:
        ConfigError: `count` or `columns` is below 1, or `which` is unknown.
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
    arguments.one_of("which", which, get_args(Choice))
    names = class_names(model)
    images, labels = validate_arrays(data, model)
    truth = true_labels(model, labels)
    least = thresholds(model) if is_multi_label(model) else None
    if probabilities is None and which in ("confident", "worst", "wrong"):
        probabilities = predict(model, images)
    check_probabilities(probabilities, (len(truth), len(names)))
    if least is None:
        chosen = _choose(truth, probabilities, count=count, which=which, seed=seed)
    else:
        errors = None if probabilities is None else LabelErrors.find(truth, probabilities, least)
        chosen = choose_images(truth, errors, count=count, which=which, seed=seed)
    if not len(chosen):
        return _note(f"none of {len(images):,} images is misclassified")
    shown = images[chosen]
    rows = predict(model, shown) if probabilities is None else probabilities[chosen]
    bounds = value_range(model) or (float(shown.min()), float(shown.max()))
    columns = min(columns, len(chosen))
    size = (PANEL * max(columns, 2) / columns, PANEL + _CAPTION)
    figure, panels = _panels(len(chosen), columns, size)
    for panel, image, index, row in zip(panels, shown, chosen, rows, strict=True):
        pixels = to_drawable(image, bounds)
        panel.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if least is None:
            write_caption(panel, names[truth[index]], names[row.argmax()], float(row.max()))
        else:
            write_label_sets(panel, names, truth[index], row, least)
    return finish(figure)


@check_arguments
def audit_grid(audit: Audit, data: Data, *, count: int = 12, columns: int = 3) -> Figure:
    r"""Draw the most suspicious images of an audit, with file, label and suggested label.

    Args:
        audit: What `tlkit.audit` returned.
        data: The images and labels that were audited, in any form; of an `ImageDataset` or of
            lazy images only those that are drawn are read.
        count: How many images to draw at most.
        columns: Images a row.

    Raises:
        ConfigError: `count` or `columns` is below 1.
        DataError: The audit has no suspects.

    Examples:
        >>> suspect = Suspect(
        ...     index=1, path=None, label="cat", suggested_label="dog", score=0.02
        ... )
        >>> scores = np.array([0.9, 0.02])
        >>> audit = Audit(suspects=(suspect,), outliers=(), scores=scores, num_folds=5)
        >>> images = np.zeros((2, 8, 8), "uint8")
        >>> audit_grid(audit, (images, np.zeros(2, int))).axes[0].get_title()
        'label cat\nmaybe dog'
    """
    arguments.at_least("count", count, 1)
    arguments.at_least("columns", columns, 1)
    images, _ = batches.to_arrays(data)
    suspects = audit.suspects[:count]
    if not suspects:
        raise DataError("`audit` must have at least 1 suspect to draw, got none.")
    columns = min(columns, len(suspects))
    size = (PANEL * max(columns, 2) / columns, PANEL + _CAPTION)
    figure, panels = _panels(len(suspects), columns, size)
    for panel, suspect in zip(panels, suspects, strict=True):
        pixels = to_drawable(np.asarray(images[suspect.index]))
        panel.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        name, *lines = _describe_suspect(suspect)
        write_lines(panel, lines, wrong=True)
        panel.set_xlabel(wrap(name, _LINE_LENGTH), fontsize=FONT_SIZE)
    return finish(figure)


def _describe_suspect(suspect: Suspect) -> tuple[str, str, str]:
    """Return the name of a file without its folders, its label and the suggested one."""
    name = image_name(suspect)
    if suspect.path is not None:
        name = PurePath(suspect.path).name
    labels = [suspect.label, suspect.suggested_label]
    label, suggested = shorten_names(labels, _BOLD_LENGTH - len("maybe "))
    return shorten(name, 2 * _LINE_LENGTH), f"label {label}", f"maybe {suggested}"


def check_probabilities(probabilities: np.ndarray | None, shape: tuple[int, int]) -> None:
    """Raise DataError if there are probabilities and their shape is not (images, classes)."""
    if probabilities is not None and np.shape(probabilities) != shape:
        found = np.shape(probabilities)
        raise DataError(f"`probabilities` must have shape {shape}, got {found}.")


def to_drawable(image: np.ndarray, bounds: tuple[float, float] | None = None) -> np.ndarray:
    """Return an image with values from 0 to 1, without the axis of a single channel.

    Args:
        image: Its pixels.
        bounds: The values of black and white; by default 0 and 255 for uint8, and otherwise the
            smallest and the largest value.

    Examples:
        >>> to_drawable(np.array([[[0], [255]]], "uint8")).tolist()
        [[0.0, 1.0]]
    """
    pixels = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if bounds is None:
        is_bytes = pixels.dtype == np.uint8
        bounds = (0.0, 255.0) if is_bytes else (float(pixels.min()), float(pixels.max()))
    low, high = bounds
    return np.asarray((pixels.astype("float32") - low) / max(high - low, _MIN_RANGE))


def wrap(text: str, line_length: int) -> str:
    r"""Return text in lines of limited length, for the caption of a small image.

    A number stays with its percent sign.

    Args:
        text: The caption, or a line of it.
        line_length: Columns in a line; longer words are broken.

    Examples:
        >>> wrap("WRONG: sunflowers (55 %)", 18)
        'WRONG: sunflowers\n(55 %)'
    """
    line_length = line_length * len(text) // max(display_width(text), 1)
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), line_length)
    return "\n".join(lines).replace("\u00a0%", " %")


def write_caption(panel: Any, truth: str, predicted: str, probability: float) -> None:
    """Write true and predicted class above an image, and frame it if they differ.

    These are two lines, or three with long names. A class that is predicted correctly is named once
    if its name is too long for naming it twice.

    Args:
        panel: The axes of the image.
        truth: The true class.
        predicted: The predicted class.
        probability: The probability of the predicted class.
    """
    share = f"({100 * probability:.0f} %)"
    if truth != predicted:
        truth, predicted = shorten_names([truth, predicted], _BOLD_LENGTH - len("WRONG: "))
        write_lines(panel, (f"true {truth}", f"WRONG: {predicted} {share}"), wrong=True)
        return
    prediction = f"predicted {predicted} {share}"
    if display_width(prediction) > _LINE_LENGTH:
        prediction = f"correct {share}"
    truth = shorten(truth, _LINE_LENGTH - len("true "))
    write_lines(panel, (f"true {truth}", prediction), wrong=False)


def write_label_sets(
    panel: Any,
    names: Sequence[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
) -> None:
    """Write the true and the predicted classes above an image, and frame it if they differ.

    Of wrong predictions, only the classes that are wrong are named.

    Args:
        panel: The axes of the image.
        names: The name of each class.
        truth: 0 or 1 for each class.
        probabilities: The probability of each class.
        thresholds: From which probability on an image has each class.
    """
    predicted = probabilities >= thresholds
    wrong = bool((predicted != truth).any())
    found = {
        "missed": (truth == 1) & ~predicted,
        "predicted": predicted & (truth == 0) if wrong else predicted,
    }
    parts = [
        f"{word} {name_classes(names, which, probabilities)}"
        for word, which in found.items()
        if which.any()
    ]
    first, *more = parts or ["predicted none"]
    lines = (f"true {name_classes(names, truth == 1)}", f"{'WRONG: ' * wrong}{first}", *more)
    write_lines(panel, lines, wrong=wrong)


def name_classes(
    names: Sequence[str], which: np.ndarray, probabilities: np.ndarray | None = None
) -> str:
    """Return the first names of the classes that are marked, with their probabilities.

    Args:
        names: The name of each class.
        which: Whether each is named.
        probabilities: The probability of each.

    Examples:
        >>> name_classes(["cat", "dog"], np.array([True, True]), np.array([0.9, 0.5]))
        'cat (90 %), dog (50 %)'
    """
    marked = np.flatnonzero(which)
    shown = shorten_names([names[index] for index in marked[:_MAX_NAMED]], _LINE_LENGTH - 6)
    if probabilities is not None:
        shares = [100 * float(probabilities[index]) for index in marked]
        shown = [f"{name} ({share:.0f} %)" for name, share in zip(shown, shares, strict=False)]
    more = [f"{len(marked) - _MAX_NAMED} more"] if len(marked) > _MAX_NAMED else []
    return ", ".join([*shown, *more]) or "none"


def write_lines(panel: Any, lines: Sequence[str], *, wrong: bool) -> None:
    """Write lines above an image, and frame it if its prediction is wrong.

    Args:
        panel: The axes of the image.
        lines: The lines, which are wrapped.
        wrong: Whether the prediction is wrong.
    """
    line_length = _BOLD_LENGTH if wrong else _LINE_LENGTH
    panel.set_title(
        "\n".join(wrap(line, line_length) for line in lines),
        fontsize=FONT_SIZE,
        color=WRONG if wrong else CORRECT,
        fontweight="bold" if wrong else "normal",
    )
    panel.set(xticks=[], yticks=[])
    for edge in panel.spines.values():
        edge.set(color=WRONG if wrong else "0.8", linewidth=3 if wrong else 0.8)


def _panels(count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    """Return a figure and its panels, each of this width and height."""
    rows = math.ceil(count / columns)
    width, height = size
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in panels[count:]:
        empty.remove()
    return figure, panels[:count]


def _note(text: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.8))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return finish(figure)


def _choose(
    truth: np.ndarray, probabilities: Any, *, count: int, which: Choice, seed: int
) -> np.ndarray:
    """Return the indices of the images to draw; two of the choices need the probabilities."""
    random = np.random.default_rng(seed)
    if which == "random":
        return random.choice(len(truth), size=min(count, len(truth)), replace=False)
    if which == "per_class":
        shuffled, classes = random.permutation(len(truth)), np.unique(truth)
        each = max(count // len(classes), 1)
        return np.concatenate([shuffled[truth[shuffled] == index][:each] for index in classes])
    if which == "worst":
        true = probabilities[np.arange(len(truth)), truth]
        return np.argsort(true, kind="stable")[:count]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    if which == "wrong":
        return random.permutation(wrong)[:count]
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]
