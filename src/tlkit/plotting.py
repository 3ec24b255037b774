"""Figures of a classifier at work; each is returned, and none touches pyplot."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit import _checks, data
from tlkit.classifier import checked, class_names, image_range
from tlkit.evaluation import Evaluation, predict
from tlkit.history import Run
from tlkit.probing import Probe
from tlkit.reliability import reliability

_CHOICES = ("confident", "per_class", "random", "worst")
_RIGHT, _WRONG = "#1a5fb4", "#c64600"  # apart for colour-blind readers and in grey


def prediction_grid(
    model: keras.Model,
    images: Any,
    labels: Any,
    *,
    count: int = 20,
    columns: int = 5,
    which: str = "random",
    seed: int = 0,
) -> Figure:
    """Draw images with true and predicted label; wrong ones are framed and say so.

    Args:
        model: A classifier from build_classifier.
        images: Test images the model takes; grey ones are drawn in grey.
        labels: Their labels, integers or one-hot.
        count: How many to draw; all, where there are fewer.
        columns: How many a row.
        which: "random"; "worst", those whose true class got the least probability; "confident",
            the wrong ones that the classifier was surest of; or "per_class", the same number of
            each class.
        seed: Chooses random ones.

    Raises:
        ConfigError: `count` or `columns` is below 1, or there is no such choice.
        DataError: Images or labels don't fit the model.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), "uint8")
        >>> len(prediction_grid(model, images, np.array([0, 1, 0])).axes)
        3
    """
    _checks.at_least("count", count, 1)
    _checks.at_least("columns", columns, 1)
    names = class_names(model)
    pair = checked((images, labels), model, "test")
    images, truth = pair[0], data.label_indices(pair[1])  # type: ignore[index]  # arrays in, arrays out
    chosen = _chosen(model, images, truth, count=count, which=which, seed=seed)
    if not len(chosen):
        return _note(f"none of {len(images):,} images is called wrongly")
    probabilities = predict(model, images[chosen])
    columns = min(columns, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(1.7 * max(columns, 2), 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    shown = images[chosen]
    low, high = image_range(model) or (float(shown.min()), float(shown.max()))
    for panel, image, index, row in zip(panels, shown, chosen, probabilities, strict=False):
        picture = (_drawable(image).astype("float32") - low) / (high - low)
        panel.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        _label(panel, names[truth[index]], names[row.argmax()], float(row.max()))
    for empty in panels[len(chosen) :]:
        empty.remove()
    return figure


def _note(text: str) -> Figure:
    figure = Figure(figsize=(4, 1))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _chosen(
    model: keras.Model, images: Any, truth: np.ndarray, *, count: int, which: str, seed: int
) -> np.ndarray:
    """Return which images to draw."""
    _checks.one_of("which", which, _CHOICES)
    random = np.random.default_rng(seed)
    if which == "random":
        return random.choice(len(truth), size=min(count, len(truth)), replace=False)
    if which == "per_class":
        shuffled = random.permutation(len(truth))
        each = max(count // len(np.unique(truth)), 1)
        parts = [shuffled[truth[shuffled] == label][:each] for label in np.unique(truth)]
        return np.concatenate(parts)
    probabilities = predict(model, images)
    if which == "worst":
        true = probabilities[np.arange(len(truth)), truth]
        return np.argsort(true, kind="stable")[:count]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]


def reliability_diagram(evaluation: Evaluation, *, bins: int = 15) -> Figure:
    """Draw how often calls are right, by how sure they are, and how many there are of each.

    Args:
        evaluation: What tlkit.evaluate returned.
        bins: How many steps of sureness.
    """
    found = reliability(evaluation.probabilities, evaluation.labels, bins=bins)
    there = [each for each in found if each.count]
    figure = Figure(figsize=(4.5, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color="0.5", linewidth=1, label="as sure as right")
    sure, right = [each.confidence for each in there], [each.accuracy for each in there]
    above.plot(sure, right, marker="o", color=_RIGHT, label="calls")
    above.set_ylabel("share that is right")
    above.set_ylim(0, 1.02)
    above.set_title(f"calibration error {100 * evaluation.calibration_error:.2f} %", fontsize=10)
    above.legend(loc="lower right")
    middles = [(each.low + each.high) / 2 for each in found]
    below.bar(middles, [each.count for each in found], width=0.9 / bins, color=_RIGHT)
    below.set_ylabel("calls")
    below.set_xlabel("confidence: the highest probability")
    below.set_xlim(0, 1)
    for panel in (above, below):
        panel.grid(alpha=0.3)
    return figure


def learning_curves(run: Run) -> Figure:
    """Draw loss and accuracy over the epochs of all phases, the change of phase marked.

    Whatever metric the first phase has is drawn beside its loss; without one, the loss alone.

    Args:
        run: What TwoPhaseTrainer.fit returned.
    """
    keys = [key for key in run.phases[0].epochs[0] if not key.startswith("val_")]
    keys = ["loss", *(key for key in keys if key not in ("loss", "learning_rate"))][:2]
    figure = Figure(figsize=(5 * len(keys), 3.6), layout="constrained")
    for panel, key in zip(np.atleast_1d(figure.subplots(1, len(keys))), keys, strict=True):
        _curve(panel, run, key, label="training", style="--")
        _curve(panel, run, f"val_{key}", label="validation", style="-")
        _mark_phases(panel, run)
        panel.set_xlim(0.5, len(run.history) + 0.5)  # also where there is one epoch alone
        panel.set_xlabel("epoch")
        panel.set_ylabel(key)
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        panel.grid(alpha=0.3)
        panel.legend()
    return figure


def confusion_matrix(evaluation: Evaluation) -> Figure:
    """Draw how many images of each true class were called each class, shaded by the row's share.

    Args:
        evaluation: What tlkit.evaluate returned.
    """
    counts = evaluation.confusion
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = evaluation.class_names
    side = max(3.5, 0.55 * len(names) + 1.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    panel = figure.subplots()
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if share[row, column] > 0.5 else "black"
        text = str(counts[row, column])
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    _name_axes(panel, names)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true class")
    panel.set_title(f"accuracy {100 * evaluation.accuracy:.2f} %, {evaluation.count:,} images")
    return figure


def probe_curves(probe: Probe) -> Figure:
    """Draw what a linear head gets from each block, against its depth and against its cost.

    The bar at the best reading is one standard error; the circle is the reading chosen.

    Args:
        probe: What `tlkit.probe` returned.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    by_depth, by_cost = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    layers = list(dict.fromkeys(reading.layer for reading in probe.readings))
    for averaged, color, marker, label in (
        (False, _RIGHT, "o", "grid of averages, or flattened"),
        (True, _WRONG, "s", "averaged"),
    ):
        group = [each for each in probe.readings if (each.pooling == "avg") == averaged]
        accuracies = [100 * each.accuracy for each in group]
        style = {"color": color, "marker": marker, "markersize": 4, "linewidth": 1}
        places = [layers.index(each.layer) for each in group]
        by_depth.plot(places, accuracies, label=label, **style)
        by_cost.plot([each.work / 1e6 for each in group], accuracies, **style)
    best, chosen = probe.best, probe.chosen
    for panel, at in (
        (by_depth, lambda reading: layers.index(reading.layer)),
        (by_cost, lambda reading: reading.work / 1e6),
    ):
        error = 100 * probe.standard_error
        panel.errorbar(
            at(best), 100 * best.accuracy, error, color="0.3", capsize=4, label="best, 1 s.e."
        )
        panel.plot(
            at(chosen),
            100 * chosen.accuracy,
            "o",
            markersize=12,
            markerfacecolor="none",
            color="0.1",
            label=f"chosen: {chosen.layer}",
        )
        panel.grid(alpha=0.3)
    by_depth.set_xticks(range(len(layers)), layers, rotation=90, fontsize=7)
    by_depth.set_ylabel("accuracy on images not fitted to, %")
    by_depth.legend(fontsize=8)
    by_cost.set_xlabel("million multiply-adds an image")
    return figure


def _drawable(image: np.ndarray) -> np.ndarray:
    return image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image


def _label(panel: Any, truth: str, called: str, probability: float) -> None:
    wrong = truth != called
    said = f"{called}, {100 * probability:.0f} %"
    panel.set_title(
        f"true {truth}\n{'WRONG: ' if wrong else 'predicted '}{said}",
        fontsize=8,
        color=_WRONG if wrong else _RIGHT,
        fontweight="bold" if wrong else "normal",
        parse_math=False,
    )
    panel.set_xticks([])
    panel.set_yticks([])
    for edge in panel.spines.values():
        edge.set(color=_WRONG if wrong else "0.8", linewidth=3 if wrong else 0.8)


def _curve(panel: Any, run: Run, key: str, *, label: str, style: str) -> None:
    points = [(row["epoch"], row[key]) for row in run.history if key in row]
    if points:
        panel.plot(*zip(*points, strict=True), style, marker="o", markersize=3, label=label)


def _mark_phases(panel: Any, run: Run) -> None:
    start = 1
    for phase in run.phases:
        if start > 1:
            panel.axvline(start - 0.5, color="0.5", linewidth=1, linestyle=":")
        panel.annotate(
            phase.name,
            (start - 0.4, 1.01),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            color="0.35",
        )
        start += len(phase.epochs)


def _name_axes(panel: Any, names: Sequence[str]) -> None:
    ticks = range(len(names))
    upright = max(len(name) for name in names) <= 3
    panel.set_xticks(
        ticks,
        names,
        rotation=0 if upright else 45,
        ha="center" if upright else "right",
        parse_math=False,
    )
    panel.set_yticks(ticks, names, parse_math=False)
