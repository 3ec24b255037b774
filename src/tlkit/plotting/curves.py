"""Learning curves: loss and accuracy of a training, epoch by epoch."""

import math
from typing import Any

import numpy as np

from tlkit._internal.signatures import check_arguments
from tlkit.plotting.captions import CORRECT, FONT_SIZE, WIDTH, WRONG
from tlkit.plotting.figure import Figure
from tlkit.plotting.labels import finish, shorten
from tlkit.training.records import Run

_NAME_WIDTH = 40  # columns of a phase's name


@check_arguments
def learning_curves(run: Run) -> Figure:
    """Draw loss and accuracy over the epochs of all phases, and mark where each phase begins.

    A solved head has no epochs: its metrics are horizontal lines, to compare fine-tuning with. If
    the model was compiled with other metrics, the first of them takes the place of the accuracy.

    Args:
        run: The result of `TwoPhaseTrainer.fit`.
    """
    keys = [key for key in run.phases[0].history if not key.startswith("val_")]
    keys = ["loss", *(key for key in keys if key not in ("loss", "learning_rate"))][:2]
    figure = Figure(figsize=(WIDTH, 2.9 * len(keys)), layout="constrained")
    for panel, key in zip(np.atleast_1d(figure.subplots(len(keys), 1)), keys, strict=True):
        _curve(panel, run, key, label="training", style="--")
        _curve(panel, run, f"val_{key}", label="validation", style="-")
        _mark_phases(panel, run)
        epochs = sum(phase.num_epochs for phase in run.phases if not phase.is_solved)
        panel.set_xlim(0.5, max(epochs, 1) + 0.5)  # not empty for a single epoch
        panel.set_xlabel("epoch")
        panel.set_ylabel(key)
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        panel.grid(alpha=0.3)
    _name_curves(figure)
    return finish(figure)


def _curve(panel: Any, run: Run, key: str, *, label: str, style: str) -> None:
    """Draw a metric as a curve over the phases with epochs, and as a line for a solved head."""
    color = CORRECT if key.startswith("val_") else WRONG
    values: list[float] = []
    for phase in run.phases:
        own = phase.history.get(key, [math.nan] * phase.num_epochs)
        if not phase.is_solved:
            values += own
        elif key in phase.history:
            named = f"solved head, {label}"
            panel.axhline(own[0], color=color, linestyle=style, linewidth=1, alpha=0.6, label=named)
    if not all(map(math.isnan, values)):
        epochs = range(1, len(values) + 1)
        panel.plot(epochs, values, style, color=color, marker="o", markersize=3, label=label)


def _name_curves(figure: Figure) -> None:
    """Write one legend for all panels, below them, where it covers no curve."""
    named: dict[str, Any] = {}
    for panel in figure.axes:
        lines, labels = panel.get_legend_handles_labels()
        named |= dict(zip(labels, lines, strict=True))
    figure.legend(named.values(), named, loc="outside lower center", ncols=2, fontsize=FONT_SIZE)


def _mark_phases(panel: Any, run: Run) -> None:
    start = 1
    for phase in run.phases:
        if phase.is_solved:
            continue
        if start > 1:
            panel.axvline(start - 0.5, color="0.5", linewidth=1, linestyle=":")
        panel.annotate(
            shorten(phase.name, _NAME_WIDTH),
            (start - 0.4, 1),
            xytext=(0, 4),  # points: the line of the frame does not cover an underscore
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=FONT_SIZE,
            color="0.35",
        )
        start += phase.num_epochs
