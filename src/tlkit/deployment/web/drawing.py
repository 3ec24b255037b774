"""The look of the images of a classifier, for a page on which a visitor can draw such images."""

from typing import Any

import numpy as np

from tlkit.deployment.metadata import Metadata

_MAX_SIDE = 64  # pixels; larger images are photos
_MAX_IMAGES = 256
_PENS = (0.03, 0.2)
_UNKNOWN = {"dark": True, "extent": 0.7, "pen": 0.09}  # the values of MNIST


def describe_drawing(about: Metadata, images: Any) -> dict[str, Any] | None:
    """Return whether the background is dark, and the size and line width of drawings.

    The size is a share of height or width, the larger of both; the line width is a share of the
    longer side. The result is None if images can't be drawn: only small grey images of a fixed size
    can.

    Args:
        about: The metadata of the classifier.
        images: Some of its test images, `(count, height, width)` or with a channel; None uses the
            values of MNIST.

    Examples:
        >>> shape = (None, 8, 8, 1)
        >>> about = Metadata(format="web", precision="float32", class_names=("a", "b"),
        ...     multi_label=False, thresholds=None, input_shape=shape, input_dtype="uint8",
        ...     value_range=(0, 255))
        >>> images = np.full((3, 8, 8, 1), 255)
        >>> images[:, 2:6, 3:5] = 0
        >>> describe_drawing(about, images)
        {'dark': False, 'extent': 0.5, 'pen': 0.167}
    """
    height, width, channels = (*about.input_shape[1:], 1)[:3]
    if channels != 1 or height is None or width is None or max(height, width) > _MAX_SIDE:
        return None
    if images is None or not len(images):
        return dict(_UNKNOWN)
    low, high = about.value_range or (0, 255)
    some = np.asarray(images[:_MAX_IMAGES], "float32").reshape(-1, height, width)
    shares = (some - low) / (high - low)
    edges = np.concatenate([shares[:, (0, -1)], shares[:, :, (0, -1)].swapaxes(1, 2)], axis=2)
    dark = bool(np.median(edges) < 0.5)
    ink = shares > 0.5 if dark else shares < 0.5
    ink = ink[ink.any(axis=(1, 2))]
    if not len(ink):
        return {**_UNKNOWN, "dark": dark}
    extents = np.maximum(*(_measure_span(np.asarray(ink.any(axis=axis))) for axis in (1, 2)))
    widths = _measure_lines(ink) / max(height, width)
    return {
        "dark": dark,
        "extent": round(float(np.median(extents)), 3),
        "pen": round(float(np.clip(np.median(widths), *_PENS)), 3),
    }


def _measure_span(marked: np.ndarray) -> np.ndarray:
    """Return the share of each row that lies between its first and its last mark."""
    length = marked.shape[1]
    first, last = marked.argmax(axis=1), length - marked[:, ::-1].argmax(axis=1)
    return np.asarray((last - first) / length)


def _measure_lines(ink: np.ndarray) -> np.ndarray:
    """Return the line width of each drawing in pixels: twice its area divided by its outline."""
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    edge = sum(np.diff(padded, axis=axis).sum(axis=(1, 2)) for axis in (1, 2))
    return np.asarray(2 * ink.sum(axis=(1, 2)) / edge)
