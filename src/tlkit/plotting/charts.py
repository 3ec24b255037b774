"""Charts of training and evaluation.

Charts are 4.6 inches wide, except those of probes and of the confusion of many classes, and have no
text below 9 points. So they are legible on a phone, which shows 4.6 inches on about 350 pixels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tlkit._internal import arrays
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import percent
from tlkit.errors import DataError
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.probing.result import Probe, ProbedLayer
from tlkit.evaluation.reliability import calibration_curve
from tlkit.plotting.captions import CORRECT, FONT_SIZE, WIDTH, WRONG
from tlkit.plotting.figure import Figure
from tlkit.plotting.labels import display_width, finish, shorten, shorten_names
from tlkit.training.ood_detector import KEPT

_MAX_COUNTED = 12  # classes; with more, numbers do not fit into the cells of a matrix
_MAX_DRAWN = 40  # classes; with more, names are too small to read on the page of a report

_NAME_WIDTH = 20  # columns of a class name on an axis
_POOLINGS = {  # colour, marker and label of layers by how their features are pooled
    "grid": (CORRECT, "o", "grid of averages, or flattened"),
    "cls": (CORRECT, "o", "class token"),
    "cls+avg": ("0.35", "^", "class token and average"),
    "avg": (WRONG, "s", "averaged"),
}


@check_arguments
def reliability_diagram(evaluation: Evaluation, *, num_bins: int = 15) -> Figure:
    """Draw the accuracy of predictions by their confidence, and the number of predictions.

    Args:
        evaluation: The result of `tlkit.evaluate`.
        num_bins: How many bins of equal width to divide confidences from 0 to 1 into.
    """
    bins = calibration_curve(evaluation.labels, evaluation.probabilities, num_bins=num_bins)
    filled = [each for each in bins if each.count]
    figure = Figure(figsize=(WIDTH, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color="0.5", linewidth=1, label="perfect calibration")
    above.plot(
        [each.confidence for each in filled],
        [each.accuracy for each in filled],
        marker="o",
        color=CORRECT,
        label="this classifier",
    )
    several = evaluation.is_multi_label
    above.set_ylabel("share of images that have the class" if several else "share that is correct")
    above.set_ylim(0, 1.02)
    error = percent(evaluation.calibration_error, of=evaluation.count)
    above.set_title(f"expected calibration error {error}", fontsize=10)
    above.legend(loc="best")
    centres = [(each.low + each.high) / 2 for each in bins]
    below.bar(centres, [each.count for each in bins], width=0.9 / num_bins, color=CORRECT)
    below.set_ylabel("predictions")
    below.set_xlabel("probability of a class" if several else "confidence: the highest probability")
    below.set_xlim(0, 1)
    for panel in (above, below):
        panel.grid(alpha=0.3)
    return finish(figure)


@check_arguments
def confusion_matrix(evaluation: Evaluation) -> Figure:
    """Draw how many images of each true class were predicted as each class.

    Cells are shaded by their share of the true class. With more than 12 classes the cells are too
    small for numbers, and a scale explains the shades. With more than 40 classes, the 40 with the
    most errors are drawn, as the title explains.

    Args:
        evaluation: The result of `tlkit.evaluate`.

    Raises:
        DataError: The evaluation is multi-label, where an image can have several classes.
    """
    if evaluation.is_multi_label:
        raise DataError(
            "`evaluation` must be of classes that exclude each other, got a multi-label one. Draw "
            "tlkit.plotting.class_metrics."
        )
    counts = evaluation.confusion
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = _find_most_errors(counts)
    names = shorten_names([evaluation.class_names[each] for each in drawn], _NAME_WIDTH)
    counts, share = (each[np.ix_(drawn, drawn)] for each in (counts, share))
    side = WIDTH
    if len(names) > _MAX_COUNTED:  # room for a line of text for each class, and for the longest
        side = max(side, 0.17 * len(names) + 1.5 + 0.08 * max(map(display_width, names)))
    figure = Figure(figsize=(side, side), layout="constrained")
    panel = figure.subplots()
    shades = panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= _MAX_COUNTED:
        _write_counts(panel, counts, share)
    else:
        figure.colorbar(shades, ax=panel, shrink=0.6, label="share of the true class")
    _name_axes(panel, names)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true class")
    accuracy = percent(evaluation.accuracy, of=evaluation.count)
    title = f"accuracy {accuracy}, {evaluation.count:,} images"
    if len(drawn) < len(evaluation.classes):
        title += f"\n{len(drawn)} of {len(evaluation.classes):,} classes, with the most errors"
    panel.set_title(title, fontsize=10)
    return finish(figure)


def _find_most_errors(counts: np.ndarray) -> np.ndarray:
    """Return the classes to draw, in order: all, or those with the most errors."""
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    return np.sort(np.argsort(-errors, kind="stable")[:_MAX_DRAWN])


@check_arguments
def class_metrics(evaluation: Evaluation) -> Figure:
    """Draw average precision, with its 95 % interval, and F1 of each class of a multi-label test.

    The tick is the average precision of random guessing: the share of images that have the class.
    With more than 40 classes, the 40 with the lowest F1 are drawn, as the title explains.

    Args:
        evaluation: The result of `tlkit.evaluate`.

    Raises:
        DataError: The classes exclude each other; draw `confusion_matrix` for these.
    """
    if not evaluation.is_multi_label:
        raise DataError(
            "`evaluation` must be multi-label, got one of classes that exclude each other. Draw "
            "tlkit.plotting.confusion_matrix."
        )
    drawn = evaluation.weakest(_MAX_DRAWN)
    names = shorten_names([each.name for each in drawn], _NAME_WIDTH)
    figure = Figure(figsize=(WIDTH, 1.6 + 0.27 * len(names)), layout="constrained")
    panel = figure.subplots()
    for row, each in enumerate(drawn):
        panel.plot([each.support / evaluation.count], [row], "|", color="0.35", markersize=12)
        if each.average_precision is not None and each.average_precision_interval is not None:
            bounds = list(each.average_precision_interval)
            panel.plot(bounds, [row, row], color=CORRECT, linewidth=2)
            panel.plot([each.average_precision], [row], "o", color=CORRECT, markersize=6)
        if each.defined()[2] is not None:
            panel.plot([each.f1], [row], "D", color=WRONG, markersize=4.5)
    panel.plot([], [], "o-", color=CORRECT, label="average precision")
    panel.plot([], [], "D", color=WRONG, markersize=4.5, label="F1")
    panel.plot([], [], "|", color="0.35", markersize=12, label="guessing")
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_yticks(range(len(names)), names, fontsize=FONT_SIZE)
    panel.grid(alpha=0.3)
    title = (
        ""
        if (mean := evaluation.mean_average_precision) is None
        else (f"mean average precision {percent(mean, of=evaluation.count)}, ")
    )
    title += f"{evaluation.count:,} images"
    if len(drawn) < len(evaluation.classes):
        title += f"\n{len(drawn)} of {len(evaluation.classes):,} classes, with the lowest F1"
    panel.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, fontsize=FONT_SIZE)
    return finish(figure)


def _write_counts(panel: Any, counts: np.ndarray, share: np.ndarray) -> None:
    for row, column in np.argwhere(counts > 0):
        colour = "white" if share[row, column] > 0.5 else "black"
        text = str(counts[row, column])
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=FONT_SIZE)


@check_arguments
def probe_curves(probe: Probe) -> Figure:
    """Draw the accuracy of a linear head after each block, by its depth and by its cost.

    The bar at the best layer is one standard error; the circle is the chosen layer.

    Args:
        probe: The result of `tlkit.probe`.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    by_depth, by_cost = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    layers = list(dict.fromkeys(each.layer for each in probe.layers))
    _draw_probe(by_depth, probe, lambda each: layers.index(each.layer))
    _draw_probe(by_cost, probe, lambda each: each.multiply_adds / 1e6)
    by_depth.set_xticks(range(len(layers)), shorten_names(layers, 40), rotation=90, fontsize=7)
    by_depth.set_ylabel(f"{probe.measure} on held-out images, %")
    by_depth.legend(fontsize=8)
    by_cost.set_xlabel("million multiply-adds per image")
    return finish(figure)


def _draw_probe(panel: Axes, probe: Probe, position: Callable[[ProbedLayer], float]) -> None:
    """Draw the accuracy of each layer at its position, and mark the best and the chosen one."""
    for key, (color, marker, label) in _POOLINGS.items():
        group = [each for each in probe.layers if _pooling_kind(each.pooling) == key]
        if group:
            panel.plot(
                [position(each) for each in group],
                [100 * each.accuracy for each in group],
                color=color,
                marker=marker,
                markersize=4,
                linewidth=1,
                label=label,
            )
    best, chosen = probe.best, probe.chosen
    error = 100 * probe.standard_error
    panel.errorbar(
        position(best), 100 * best.accuracy, error, color="0.3", capsize=4, label="best, 1 s.e."
    )
    panel.plot(
        position(chosen),
        100 * chosen.accuracy,
        "o",
        markersize=12,
        markerfacecolor="none",
        color="0.1",
        label=f"chosen: {shorten(chosen.layer, 40)}",
    )
    panel.grid(alpha=0.3)


def _pooling_kind(pooling: Any) -> str:
    return pooling if pooling in ("avg", "cls", "cls+avg") else "grid"


@check_arguments
def ood_histogram(held_out: np.ndarray, tested: np.ndarray) -> Figure:
    """Draw how far test images, and training images held out, are from the training images.

    Args:
        held_out: The distances of training images that were held out, `(count,)`.
        tested: The distances of the test images, `(count,)`; the last bar holds all that are
            further.
    """
    held_out = arrays.check_numbers("held_out", held_out, 1)
    tested = arrays.check_numbers("tested", tested, 1)
    threshold = float(np.quantile(held_out, KEPT))
    low, high = min(held_out.min(), tested.min()), float(np.quantile(held_out, 0.999))
    high = max(high, threshold + (threshold - low) / 4)
    edges = np.linspace(low, high, 40).tolist()
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    panel = figure.subplots()
    groups: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "training images, held out": (held_out, {"color": "0.7", "histtype": "stepfilled"}),
        "test images": (tested, {"color": CORRECT, "histtype": "step", "linewidth": 1.5}),
    }
    for label, (values, style) in groups.items():
        shares = np.full(len(values), 100 / len(values))
        panel.hist(np.minimum(values, high), edges, weights=shares, label=label, **style)
    panel.axvline(threshold, color=WRONG, linestyle="--", linewidth=1, label="threshold")
    panel.set_xlabel("distance from the training images")
    panel.set_ylabel("share of the images, %")
    panel.grid(alpha=0.3)
    narrow: dict[str, Any] = {"columnspacing": 1, "handlelength": 1.2, "frameon": False}
    figure.legend(loc="outside lower center", ncols=3, fontsize=FONT_SIZE, **narrow)
    return finish(figure)


def _name_axes(panel: Any, names: Sequence[str]) -> None:
    ticks = range(len(names))
    upright = max(map(display_width, names)) <= 3
    many = len(names) > _MAX_COUNTED
    panel.set_xticks(
        ticks,
        names,
        rotation=0 if upright else 90 if many else 45,
        ha="center" if upright or many else "right",
        rotation_mode="default" if upright or many else "anchor",
        fontsize=FONT_SIZE,
    )
    panel.set_yticks(ticks, names, fontsize=FONT_SIZE)
