"""Figures of a classifier at work; each is returned, and none touches pyplot.

All but a probe's are upright, about 4.6 inches wide, with no text below 9 points: so they can be
read on a phone, which shows 4.6 inches on about 350 of its pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tlkit._internal.text import percent
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.probing.result import Probe
from tlkit.evaluation.reliability import calibration_curve
from tlkit.plotting.image_grids import RIGHT, SMALL, WIDTH, WRONG, prediction_grid
from tlkit.training.records import Run

__all__ = [
    "confusion_matrix",
    "learning_curves",
    "prediction_grid",
    "probe_curves",
    "reliability_diagram",
]

_MOST_COUNTED = 12  # classes, beyond which numbers do not fit into the cells of a matrix


def reliability_diagram(evaluation: Evaluation, *, num_bins: int = 15) -> Figure:
    """Draw how often predictions are correct, by their confidence, and how many there are of each.

    Args:
        evaluation: What tlkit.evaluate returned.
        num_bins: How many bins of confidence.
    """
    found = calibration_curve(evaluation.labels, evaluation.probabilities, num_bins=num_bins)
    there = [each for each in found if each.count]
    figure = Figure(figsize=(WIDTH, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color="0.5", linewidth=1, label="perfect calibration")
    sure, right = [each.confidence for each in there], [each.accuracy for each in there]
    above.plot(sure, right, marker="o", color=RIGHT, label="this classifier")
    above.set_ylabel("share that is correct")
    above.set_ylim(0, 1.02)
    error = percent(evaluation.calibration_error, of=evaluation.count)
    above.set_title(f"expected calibration error {error}", fontsize=10)
    above.legend(loc="lower right")
    middles = [(each.low + each.high) / 2 for each in found]
    below.bar(middles, [each.count for each in found], width=0.9 / num_bins, color=RIGHT)
    below.set_ylabel("predictions")
    below.set_xlabel("confidence: the highest probability")
    below.set_xlim(0, 1)
    for panel in (above, below):
        panel.grid(alpha=0.3)
    return figure


def learning_curves(run: Run) -> Figure:
    """Draw loss and accuracy, one above the other, over the epochs of all phases.

    The change of phase is marked. Whatever metric the first phase has is drawn below its loss;
    without one, the loss alone.

    Args:
        run: What TwoPhaseTrainer.fit returned.
    """
    keys = [key for key in run.phases[0].history if not key.startswith("val_")]
    keys = ["loss", *(key for key in keys if key not in ("loss", "learning_rate"))][:2]
    figure = Figure(figsize=(WIDTH, 2.9 * len(keys)), layout="constrained")
    for panel, key in zip(np.atleast_1d(figure.subplots(len(keys), 1)), keys, strict=True):
        _curve(panel, run, key, label="training", style="--")
        _curve(panel, run, f"val_{key}", label="validation", style="-")
        _mark_phases(panel, run)
        panel.set_xlim(0.5, len(run.history["epoch"]) + 0.5)  # also where there is one epoch alone
        panel.set_xlabel("epoch")
        panel.set_ylabel(key)
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        panel.grid(alpha=0.3)
        panel.legend()
    return figure


def confusion_matrix(evaluation: Evaluation) -> Figure:
    """Draw how many images of each true class were predicted as each, shaded by the row's share.

    With more than 12 classes, whose cells are too small for numbers, a scale explains the shades.

    Args:
        evaluation: What tlkit.evaluate returned.
    """
    counts, names = evaluation.confusion, evaluation.class_names
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(WIDTH, 0.17 * len(names) + 1.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    panel = figure.subplots()
    shades = panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= _MOST_COUNTED:
        _write_counts(panel, counts, share)
    else:
        figure.colorbar(shades, ax=panel, shrink=0.6, label="share of the true class")
    _name_axes(panel, names)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true class")
    accuracy = percent(evaluation.accuracy, of=evaluation.count)
    panel.set_title(f"accuracy {accuracy}, {evaluation.count:,} images", fontsize=10)
    return figure


def _write_counts(panel: Any, counts: np.ndarray, share: np.ndarray) -> None:
    for row, column in np.argwhere(counts > 0):
        colour = "white" if share[row, column] > 0.5 else "black"
        text = str(counts[row, column])
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize=SMALL)


def probe_curves(probe: Probe) -> Figure:
    """Draw what a linear head gets from each block, against its depth and against its cost.

    The bar at the best reading is one standard error; the circle is the reading chosen.

    Args:
        probe: What `tlkit.probe` returned.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    by_depth, by_cost = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    layers = list(dict.fromkeys(each.layer for each in probe.layers))
    for averaged, color, marker, label in (
        (False, RIGHT, "o", "grid of averages, or flattened"),
        (True, WRONG, "s", "averaged"),
    ):
        group = [each for each in probe.layers if (each.pooling == "avg") == averaged]
        accuracies = [100 * each.accuracy for each in group]
        style = {"color": color, "marker": marker, "markersize": 4, "linewidth": 1}
        places = [layers.index(each.layer) for each in group]
        by_depth.plot(places, accuracies, label=label, **style)
        by_cost.plot([each.multiply_adds / 1e6 for each in group], accuracies, **style)
    best, chosen = probe.best, probe.chosen
    for panel, at in (
        (by_depth, lambda each: layers.index(each.layer)),
        (by_cost, lambda each: each.multiply_adds / 1e6),
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


def _curve(panel: Any, run: Run, key: str, *, label: str, style: str) -> None:
    history = run.history
    if key in history:
        panel.plot(history["epoch"], history[key], style, marker="o", markersize=3, label=label)


def _mark_phases(panel: Any, run: Run) -> None:
    start = 1
    for phase in run.phases:
        if start > 1:
            panel.axvline(start - 0.5, color="0.5", linewidth=1, linestyle=":")
        panel.annotate(
            phase.name,
            (start - 0.4, 1.01),
            xycoords=("data", "axes fraction"),
            fontsize=SMALL,
            color="0.35",
        )
        start += phase.num_epochs


def _name_axes(panel: Any, names: Sequence[str]) -> None:
    ticks = range(len(names))
    upright = max(len(name) for name in names) <= 3
    many = len(names) > _MOST_COUNTED
    panel.set_xticks(
        ticks,
        names,
        rotation=0 if upright else 90 if many else 45,
        ha="center" if upright or many else "right",
        rotation_mode="default" if upright or many else "anchor",
        fontsize=SMALL,
        parse_math=False,
    )
    panel.set_yticks(ticks, names, fontsize=SMALL, parse_math=False)
