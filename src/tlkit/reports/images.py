"""Figures as image files, for light and for dark pages."""

import io
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

_DOTS_PER_INCH = 150
_DARK_PAPER = np.array([21, 23, 27])  # --paper of style.css in dark mode, #15171b


def render_light(figure: Figure) -> bytes:
    """Return a figure as a PNG file with a white background.

    Args:
        figure: The figure.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
    return file.getvalue()


def render_dark(figure: Figure, light: bytes) -> bytes:
    """Return the same picture for a dark page: a PNG file, or with photos a smaller JPEG file.

    White becomes the color of the page and black becomes white, hues stay. Photos do not change.

    Args:
        figure: The figure, after `render_light` has laid it out.
        light: What `render_light` returned.
    """
    pixels = np.asarray(Image.open(io.BytesIO(light)).convert("RGB")).astype("int16")
    # For a color (r, g, b), c = 255 - max - min swaps the lightness and keeps the hue: each channel
    # plus c has the extremes 255 - min and 255 - max. Then 0 to 255 is scaled to the page's color
    # to white.
    extremes = pixels.max(axis=-1, keepdims=True) + pixels.min(axis=-1, keepdims=True)
    inverted = pixels + 255 - extremes
    inverted = _DARK_PAPER + inverted * (255 - _DARK_PAPER) / 255
    photos = _photos(figure, pixels.shape[0], pixels.shape[1])
    for rows, columns in photos:
        inverted[rows, columns] = pixels[rows, columns]
    file = io.BytesIO()
    picture = Image.fromarray(inverted.round().astype("uint8"))
    if photos:
        picture.save(file, "JPEG", quality=92, subsampling=0)
    else:
        picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _photos(figure: Figure, height: int, width: int) -> list[tuple[slice, slice]]:
    """Return the rows and columns of each photo, without its frame."""
    found = []
    for panel in figure.axes:
        if any(_is_photo(image) for image in panel.images):
            box, frame = panel.get_position(), _frame(panel)
            top, bottom = round((1 - box.y1) * height), round((1 - box.y0) * height)
            left, right = round(box.x0 * width), round(box.x1 * width)
            found.append((slice(top + frame, bottom - frame), slice(left + frame, right - frame)))
    return found


def _is_photo(image: AxesImage) -> bool:
    """Tell whether an image is a photo, in color or gray, and not a matrix of numbers."""
    pixels = image.get_array()
    return (pixels is not None and pixels.ndim == 3) or image.cmap.name == "gray"


def _frame(panel: Axes) -> int:
    """Return how many pixels of a photo its frame covers at each edge: half of the line."""
    if not panel.axison:
        return 0
    points = max(edge.get_linewidth() for edge in panel.spines.values())
    return math.ceil(points / 2 * _DOTS_PER_INCH / 72)
