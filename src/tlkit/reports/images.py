"""Figures as files: for white paper, and for a dark page on which photos stay as they are."""

import io
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

_DOTS_PER_INCH = 150
_PAPER = np.array([21, 23, 27])  # of the dark page, #15171b


def light(figure: Figure) -> bytes:
    """Return a figure as a PNG file, on white.

    Args:
        figure: The figure.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
    return file.getvalue()


def dark(figure: Figure, drawn: bytes) -> bytes:
    """Return the same picture for a dark page: white becomes the page's colour, black white.

    Hues stay; lightness is turned around, but for what is drawn in full colour: photos and their
    scales. With photos it is a JPEG file, which takes a fraction of the room.

    Args:
        figure: The figure, after `light` drew it, which settles where its parts lie.
        drawn: What `light` returned.
    """
    pixels = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).astype("int16")
    turned = pixels + 255 - pixels.max(axis=-1, keepdims=True) - pixels.min(axis=-1, keepdims=True)
    turned = _PAPER + turned * (255 - _PAPER) / 255
    photos = _photos(figure, pixels.shape[0], pixels.shape[1])
    for rows, columns in photos:
        turned[rows, columns] = pixels[rows, columns]
    file = io.BytesIO()
    picture = Image.fromarray(turned.round().astype("uint8"))
    if photos:
        picture.save(file, "JPEG", quality=92, subsampling=0)
    else:
        picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _photos(figure: Figure, height: int, width: int) -> list[tuple[slice, slice]]:
    """Return where in the picture photos are, within their frames."""
    found = []
    for panel in figure.axes:
        if any(_has_own_colours(image) for image in panel.images):
            box, frame = panel.get_position(), _frame(panel)
            top, bottom = round((1 - box.y1) * height), round((1 - box.y0) * height)
            left, right = round(box.x0 * width), round(box.x1 * width)
            found.append((slice(top + frame, bottom - frame), slice(left + frame, right - frame)))
    return found


def _has_own_colours(image: AxesImage) -> bool:
    """Tell a photo, in colour or in grey, from numbers that are shaded."""
    pixels = image.get_array()
    return (pixels is not None and pixels.ndim == 3) or image.cmap.name == "gray"


def _frame(panel: Axes) -> int:
    """Return how many pixels of a photo's edge its frame covers: the inner half of its line."""
    if not panel.axison:
        return 0
    points = max(edge.get_linewidth() for edge in panel.spines.values())
    return math.ceil(points / 2 * _DOTS_PER_INCH / 72)
