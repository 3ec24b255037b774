"""The style that all grids of images share: sizes, colours, and captions of a few short lines."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tlkit.plotting.figure import Figure
from tlkit.plotting.labels import display_width, shorten, shorten_names

CORRECT, WRONG = "#1a5fb4", "#c64600"  # distinct for colour-blind readers and in grey
WIDTH = 4.6
"""The width of a figure in inches: a phone shows it on about 350 of its pixels."""
FONT_SIZE = 9.0
"""The smallest text on such a figure, in points."""

PANEL = WIDTH / 3
"""The width in inches of one of three panels in a row."""
LINE_LENGTH = 19
"""Characters in a line of a caption."""
BOLD_LENGTH = LINE_LENGTH - 2
"""Characters in a line of bold text."""

_LINE = 0.155  # inches of a line of a caption
_GAP = 0.1  # inches between the captions of two panels
_MIN_RANGE = 1e-12
_MAX_NAMED = 3  # classes in a caption


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

    A number stays on one line with its percent sign.

    Args:
        text: The caption, or a line of it.
        line_length: Columns per line; longer words are broken.

    Examples:
        >>> wrap("WRONG: sunflowers (55 %)", 18)
        'WRONG: sunflowers\n(55 %)'
    """
    line_length = line_length * len(text) // max(display_width(text), 1)
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), line_length)
    return "\n".join(lines).replace("\u00a0%", " %")


def write_caption(panel: Any, truth: str, predicted: str, probability: float) -> None:
    """Write true and predicted class above an image, and frame it if they differ.

    These are two lines, or three with long names. If a class is predicted correctly and its name is
    too long to write twice, it is written once.

    Args:
        panel: The axes of the image.
        truth: The true class.
        predicted: The predicted class.
        probability: The probability of the predicted class.
    """
    share = f"({100 * probability:.0f} %)"
    if truth != predicted:
        truth, predicted = shorten_names([truth, predicted], BOLD_LENGTH - len("WRONG: "))
        write_lines(panel, (f"true {truth}", f"WRONG: {predicted} {share}"), wrong=True)
        return
    prediction = f"predicted {predicted} {share}"
    if display_width(prediction) > LINE_LENGTH:
        prediction = f"correct {share}"
    truth = shorten(truth, LINE_LENGTH - len("true "))
    write_lines(panel, (f"true {truth}", prediction), wrong=False)


def write_label_sets(
    panel: Any,
    names: Sequence[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
) -> None:
    """Write the true and the predicted classes above an image, and frame it if they differ.

    If some classes are wrong, the predicted classes that are correct are left out.

    Args:
        panel: The axes of the image.
        names: The name of each class.
        truth: 0 or 1 for each class.
        probabilities: The probability of each class.
        thresholds: The lowest probability at which an image has each class.
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
        which: Whether each class is marked.
        probabilities: The probability of each class.

    Examples:
        >>> name_classes(["cat", "dog"], np.array([True, True]), np.array([0.9, 0.5]))
        'cat (90 %), dog (50 %)'
    """
    marked = np.flatnonzero(which)
    shown = shorten_names([names[index] for index in marked[:_MAX_NAMED]], LINE_LENGTH - 6)
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
    line_length = BOLD_LENGTH if wrong else LINE_LENGTH
    panel.set_title(
        "\n".join(wrap(line, line_length) for line in lines),
        fontsize=FONT_SIZE,
        color=WRONG if wrong else CORRECT,
        fontweight="bold" if wrong else "normal",
    )
    panel.set(xticks=[], yticks=[])
    for edge in panel.spines.values():
        edge.set(color=WRONG if wrong else "0.8", linewidth=3 if wrong else 0.8)


def fit_height(
    figure: Figure, panels: Sequence[Any], columns: int, *, num_images: int = 1, more: float = 0.0
) -> None:
    """Make a figure as tall as its images and their captions.

    Args:
        figure: The figure; its height is changed.
        panels: The panels with captions.
        columns: How many of them are in a row.
        num_images: The number of images below each caption.
        more: Inches of what else is in the figure.
    """
    counts = [*map(_count_lines, panels)]
    rows = [max(counts[at : at + columns]) for at in range(0, len(counts), columns)]
    figure.set_figheight(more + sum(num_images * PANEL + _LINE * count for count in rows))


def _count_lines(panel: Any) -> int:
    """Return how many lines the captions of a panel have, with one between two images' captions."""
    below = panel.get_xlabel()
    texts = (panel.get_title(), below, below and "-")
    return sum(1 + text.count("\n") for text in texts if text)


def fit_captions(figure: Figure, columns: int) -> Figure:
    """Shrink captions that are wider than their column, so that no two of them touch.

    Lines are broken by the number of characters, of which some are much wider than others.

    Args:
        figure: The figure, with captions above and below its panels; it is changed.
        columns: How many panels are in a row.
    """
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    room = figure.bbox.width / columns - _GAP * figure.dpi
    for panel in figure.axes:
        for caption in (panel.title, panel.xaxis.label):
            shrink(caption, room, renderer)
    return figure


def shrink(text: Any, room: float, renderer: Any) -> None:
    """Make the font of a text smaller if it is wider than its room.

    Args:
        text: The text.
        room: The width that it may have, in pixels.
        renderer: What draws it.
    """
    width = text.get_window_extent(renderer).width
    if width > room:
        text.set_fontsize(float(text.get_fontsize()) * room / width)
