"""Grids of images with their true and predicted class, legible on phones and large screens."""

import math
from pathlib import PurePath
from typing import Any, Literal, get_args

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.errors import DataError
from tlkit.evaluation.evaluator import predict
from tlkit.evaluation.label_audit import Audit, Suspect, image_name
from tlkit.models.inspection import class_names, is_multi_label, thresholds, value_range
from tlkit.plotting.captions import (
    BOLD_LENGTH,
    FONT_SIZE,
    LINE_LENGTH,
    PANEL,
    WIDTH,
    fit_captions,
    fit_height,
    to_drawable,
    wrap,
    write_caption,
    write_label_sets,
    write_lines,
)
from tlkit.plotting.figure import Figure
from tlkit.plotting.label_sets import LabelErrors, choose_images
from tlkit.plotting.labels import finish, shorten, shorten_names
from tlkit.training.inputs import true_labels, validate_arrays

Choice = Literal["confident", "per_class", "random", "worst", "wrong"]
"""Which images `prediction_grid` draws."""


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
    """Draw images with their true and predicted class, and frame misclassified ones.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form; grey images are drawn in grey.
        count: The maximum number of images to draw.
        columns: Images per row.
        which: "random"; "worst", the images with the lowest probability of their true class;
            "wrong", a random choice of the misclassified images; "confident", the misclassified
            images with the highest confidence; or "per_class", the same number of images of each
            class, at least one. For a multi-label classifier, "worst" are the images with the
            highest loss, and "confident" those with a probability that is furthest on the wrong
            side of its threshold.
        seed: The seed of a random choice.
        probabilities: The predicted probabilities of all images, `(count, classes)`, if they are
            known; by default they are predicted for the images that need them.

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
    figure, panels = _panels(len(chosen), columns)
    for panel, image, index, row in zip(panels, shown, chosen, rows, strict=True):
        pixels = to_drawable(image, bounds)
        panel.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if least is None:
            write_caption(panel, names[truth[index]], names[row.argmax()], float(row.max()))
        else:
            write_label_sets(panel, names, truth[index], row, least)
    fit_height(figure, panels, columns)
    return fit_captions(finish(figure), columns)


@check_arguments
def audit_grid(audit: Audit, data: Data, *, count: int = 12, columns: int = 3) -> Figure:
    r"""Draw the images with the most suspicious labels, with file, label and suggested label.

    Args:
        audit: The result of `tlkit.audit`.
        data: The images and labels that were audited, in any form; of an `ImageDataset` or of
            lazy images, only those to draw are read.
        count: The maximum number of images to draw.
        columns: Images per row.

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
    captions = [_describe_suspect(suspect) for suspect in suspects]
    figure, panels = _panels(len(suspects), columns)
    for panel, suspect, (name, *lines) in zip(panels, suspects, captions, strict=True):
        pixels = to_drawable(np.asarray(images[suspect.index]))
        panel.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        write_lines(panel, lines, wrong=True)
        panel.set_xlabel(name, fontsize=FONT_SIZE)
    fit_height(figure, panels, columns)
    return fit_captions(finish(figure), columns)


def _describe_suspect(suspect: Suspect) -> tuple[str, str, str]:
    """Return lines with a file's name without its folders, its label and the suggested label."""
    name = image_name(suspect)
    if suspect.path is not None:
        name = PurePath(suspect.path).name
    labels = [suspect.label, suspect.suggested_label]
    label, suggested = shorten_names(labels, BOLD_LENGTH - len("maybe "))
    name = wrap(shorten(name, 2 * LINE_LENGTH), LINE_LENGTH)
    return name, f"label {label}", f"maybe {suggested}"


def check_probabilities(probabilities: np.ndarray | None, shape: tuple[int, int]) -> None:
    """Raise DataError if probabilities are passed with a shape other than (images, classes)."""
    if probabilities is not None and np.shape(probabilities) != shape:
        found = np.shape(probabilities)
        raise DataError(f"`probabilities` must have shape {shape}, got {found}.")


def _panels(count: int, columns: int) -> tuple[Figure, Any]:
    """Return a figure and its panels."""
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(PANEL * max(columns, 2), PANEL * rows), layout="compressed")
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
    """Return the indices of the images to draw; three choices need the probabilities."""
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
