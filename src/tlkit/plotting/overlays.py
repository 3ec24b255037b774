"""Pictures beneath the colours of where their evidence lies, with a scale that explains them."""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tlkit.plotting.image_grids import SMALL, WIDTH

_PHOTO, _HEAT = 0.45, 0.55  # shares of an overlay
_COLOURS = "viridis"  # perceptually uniform, also for colour-blind readers and in grey
_HALF = 0.5
_BESIDE = 0.85  # inches of the scale and its words


def pairs(count: int, columns: int) -> tuple[Figure, list[tuple[Any, Any]]]:
    """Return a figure with so many pairs of panels, one above the other, and a scale beside.

    Args:
        count: How many pairs.
        columns: How many a row.
    """
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    side = (WIDTH - _BESIDE) / 3
    size = (side * max(columns, 2) + _BESIDE, (2 * side + 0.65) * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for panel in panels.ravel():
        panel.axis("off")
    _scale(figure, panels)
    places = (divmod(number, columns) for number in range(count))
    made = [(panels[2 * row, column], panels[2 * row + 1, column]) for row, column in places]
    for above, _ in made:
        above.axis("on")
    return figure, made


def draw(panel: Any, picture: np.ndarray, evidence: np.ndarray) -> None:
    """Draw a picture in grey under the colours of the evidence, and a line around its half.

    Args:
        panel: The axes to draw on.
        picture: Within 0 and 1, `(height, width)` or with channels.
        evidence: Within 0 and 1, `(height, width)`.
    """
    grey = (picture if picture.ndim == 2 else picture[..., :3].mean(axis=-1))[..., None]
    colours = matplotlib.colormaps[_COLOURS](evidence)[..., :3]
    panel.imshow(_PHOTO * grey + _HEAT * colours, vmin=0, vmax=1)
    if evidence.min() < _HALF < evidence.max():
        panel.contour(evidence, [_HALF], colors="white", linewidths=1.2)


def _scale(figure: Figure, panels: Any) -> None:
    """Draw beside the panels what their colours mean, on a photo of middle grey."""
    colours = matplotlib.colormaps[_COLOURS]
    shades = _PHOTO / 2 + _HEAT * colours(np.linspace(0, 1, 256))[:, None, :3]
    place = matplotlib.cm.ScalarMappable(cmap=colours)
    panel = figure.colorbar(place, ax=panels, fraction=0.04, aspect=30).ax
    panel.clear()
    panel.imshow(shades, origin="lower", aspect="auto", extent=(0, 1, 0, 1))
    panel.axhline(_HALF, color="white", linewidth=1.2)
    panel.set_xticks([])
    panel.set_yticks([0, _HALF, 1], ["0", "0.5", "1"], fontsize=SMALL)
    panel.yaxis.tick_right()
    panel.yaxis.set_label_position("right")
    panel.set_ylabel("evidence for the predicted class", fontsize=SMALL)
