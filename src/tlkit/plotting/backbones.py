"""A chart of backbones: accuracy by the time per image, and by the size of the weights."""

from collections.abc import Callable
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from tlkit._internal.signatures import check_arguments
from tlkit.evaluation.probing.search_result import (
    BackboneSearch,
    ProbedBackbone,
    megabytes,
    milliseconds,
    pareto_front,
)
from tlkit.plotting.figure import Figure
from tlkit.plotting.labels import finish, shorten_names

_COLORS = ("#1a5fb4", "#c64600", "#2a7f3e", "#8a3ffc", "#9a6700", "#0f7b8a", "#b5179e", "#5c5c5c")
_MARKERS = "osD^vP*X"
_FONT_SIZE = 9
_WIDE = 100  # the ratio of an axis' ends above which ticks are at powers of ten only
_NAME_WIDTH = 44  # columns of a backbone's name in the legend


@check_arguments
def backbone_chart(search: BackboneSearch) -> Figure:
    """Draw the accuracy of backbones by milliseconds per image, and by megabytes of weights.

    A line connects the depths of one backbone at one image size that are on its own Pareto front;
    faint points are its other depths. Bars are 95 % intervals. The grey line is the Pareto front of
    all backbones, the circle is the recommended depth, and limits are dashed.

    Args:
        search: The result of `tlkit.probe_backbones`.
    """
    candidates = list(dict.fromkeys(row.candidate for row in search.rows))
    sizes = list(dict.fromkeys(row.size_name for row in search.rows))
    colors = {each: _COLORS[i % len(_COLORS)] for i, each in enumerate(candidates)}
    markers = {each: _MARKERS[i % len(_MARKERS)] for i, each in enumerate(sizes)}
    rows_of_legend = len(candidates) + len(sizes) + 2
    figure = Figure(figsize=(10.5, max(4.6, 0.24 * rows_of_legend + 1)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    costs = (milliseconds, megabytes)
    names = ("milliseconds an image", "megabytes of weights")
    limits = (search.max_ms, search.max_mb)
    for panel, cost, name, limit in zip(panels, costs, names, limits, strict=True):
        _draw_front(panel, search, cost)
        for candidate in candidates:
            for size in sizes:
                rows = [
                    row
                    for row in search.rows
                    if (row.candidate, row.size_name) == (candidate, size)
                ]
                _draw_depths(panel, rows, cost, colors[candidate], markers[size])
        _finish_panel(panel, search, cost, limit)
        panel.set_xlabel(name)
    panels[0].set_ylabel("accuracy on held-out training images, %")
    figure.legend(handles=_legend(search, colors, markers), loc="outside right upper", fontsize=8.5)
    return finish(figure)


def _draw_front(
    panel: Any, search: BackboneSearch, cost: Callable[[ProbedBackbone], float]
) -> None:
    front = pareto_front(search.rows, cost)
    last = max(cost(row) for row in search.rows)
    x = [*(cost(row) for row in front), max(last, cost(front[-1]))]
    y = [100 * row.accuracy for row in (*front, front[-1])]
    panel.step(x, y, where="post", color="0.82", linewidth=6, solid_capstyle="round", zorder=1)


def _draw_depths(
    panel: Any,
    rows: list[ProbedBackbone],
    cost: Callable[[ProbedBackbone], float],
    color: str,
    marker: str,
) -> None:
    if not rows:
        return
    others = [row for row in rows if row not in (front := pareto_front(rows, cost))]
    style = {"color": color, "marker": marker, "linestyle": "none", "markeredgewidth": 0}
    x, y = [cost(row) for row in others], [100 * row.accuracy for row in others]
    panel.plot(x, y, markersize=3.5, alpha=0.35, zorder=2, **style)
    x, y = [cost(row) for row in front], [100 * row.accuracy for row in front]
    below = [100 * (row.accuracy - row.interval[0]) for row in front]
    above = [100 * (row.interval[1] - row.accuracy) for row in front]
    panel.errorbar(
        x, y, (below, above), fmt="none", ecolor=color, elinewidth=1, alpha=0.4, zorder=2
    )
    style |= {"linestyle": "-", "markeredgewidth": 0.5, "markeredgecolor": "white"}
    panel.plot(x, y, linewidth=1.2, markersize=5.5, zorder=3, **style)


def _finish_panel(
    panel: Any,
    search: BackboneSearch,
    cost: Callable[[ProbedBackbone], float],
    limit: float | None,
) -> None:
    if limit is not None:
        panel.axvline(limit, color="0.3", linestyle="--", linewidth=1)
    if search.recommended is not None:
        place = cost(search.recommended), 100 * search.recommended.accuracy
        style = {"markersize": 15, "markerfacecolor": "none", "markeredgewidth": 1.8}
        panel.plot(*place, "o", color="0.1", zorder=4, **style)
    panel.set_xscale("log")
    wide = panel.get_xlim()[1] / panel.get_xlim()[0] > _WIDE
    panel.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(alpha=0.3)
    panel.tick_params(labelsize=_FONT_SIZE)


def _legend(
    search: BackboneSearch, colors: dict[str, str], markers: dict[str, str]
) -> list[Line2D]:
    short = shorten_names(list(colors), _NAME_WIDTH)
    handles = [
        Line2D([], [], color=color, linewidth=3, label=name)
        for name, color in zip(short, colors.values(), strict=True)
    ]
    handles += [
        Line2D([], [], color="0.4", marker=marker, linestyle="none", label=f"{size} px")
        for size, marker in markers.items()
    ]
    handles.append(Line2D([], [], color="0.82", linewidth=6, label="Pareto front"))
    if search.recommended is not None:
        ring: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.6}
        handles.append(
            Line2D([], [], color="0.1", marker="o", linestyle="none", label="recommended", **ring)
        )
    if search.max_ms is not None or search.max_mb is not None:
        handles.append(Line2D([], [], color="0.3", linestyle="--", linewidth=1, label="limit"))
    return handles
