"""A chart of a tuning: the scores of trials by the values of each setting."""

from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tlkit._internal.signatures import check_arguments
from tlkit.errors import DataError
from tlkit.evaluation.tuning import Trial, Tuning
from tlkit.plotting.captions import CORRECT, WIDTH, WRONG
from tlkit.plotting.figure import Figure
from tlkit.plotting.labels import finish

_COLUMNS = 2
_PANEL_HEIGHT = 2.1  # inches
_SPREAD = 0.12  # of the distance between two choices


@check_arguments
def tuning_chart(tuning: Tuning) -> Figure:
    """Draw the loss or accuracy of each trial by the value of each setting.

    Later trials are darker, and the best has a ring. Lines are the recipe's defaults and the head
    without fine-tuning. The share after a setting's name is the part of the variance between trials
    that the setting explains.

    Args:
        tuning: The result of `tlkit.experiments.tune`.

    Raises:
        DataError: No trial is complete.
    """
    trials = [each for each in tuning.trials if each.is_complete]
    if not trials:
        raise DataError("`tuning` must have at least one complete trial to draw, got none.")
    names = [*trials[0].parameters]
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(1.5 * WIDTH, _PANEL_HEIGHT * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).ravel()
    for name, panel in zip(names, panels, strict=False):
        _draw_setting(panel, name, trials, tuning)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel in panels[::_COLUMNS]:
        panel.set_ylabel("accuracy, %" if tuning.measure == "accuracy" else "loss, nats")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return finish(figure)


def _draw_setting(panel: Any, name: str, trials: list[Trial], tuning: Tuning) -> None:
    """Draw the trials by one setting: on a logarithmic scale for a rate, otherwise by choice."""
    values = [each.parameters[name] for each in trials]
    heights = [_height(each, tuning) for each in trials]
    places = np.array(values, "float64") if name.endswith("rate") else _place(panel, values)
    panel.scatter(places, heights, c=range(len(trials)), cmap="Blues", vmin=-len(trials), s=28)
    if tuning.best in trials:
        at = trials.index(tuning.best)
        ring = {"facecolors": "none", "edgecolors": WRONG, "linewidths": 1.5, "s": 80}
        panel.scatter(places[at], heights[at], label="best", **ring)
    for other, style, label in (
        (tuning.defaults, "-", "defaults"),
        (tuning.head_alone, "--", "head alone"),
    ):
        if other is not None and other.is_complete:
            panel.axhline(_height(other, tuning), ls=style, lw=1, color=CORRECT, label=label)
    if name.endswith("rate"):
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.0e}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    share = tuning.importances.get(name)
    title = name.replace("_", " ") + ("" if share is None else f" ({100 * share:.0f} %)")
    panel.set_title(title, fontsize=10)
    panel.grid(alpha=0.3)


def _place(panel: Any, values: list[Any]) -> np.ndarray:
    """Assign each choice a position on the axis, and return the position of each trial near it."""
    choices = [*dict.fromkeys(values)]
    if all(isinstance(each, int | float) for each in choices):
        choices.sort()
    panel.set_xticks(range(len(choices)), [str(each) for each in choices])
    panel.set_xlim(-0.5, len(choices) - 0.5)
    beside = np.random.default_rng(0).uniform(-_SPREAD, _SPREAD, len(values))
    return np.array([choices.index(each) for each in values]) + beside


def _height(trial: Trial, tuning: Tuning) -> float:
    return 100 * trial.accuracy if tuning.measure == "accuracy" else trial.loss
