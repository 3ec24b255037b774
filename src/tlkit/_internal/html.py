"""HTML for notebooks: text, tables, bars, curves and pictures, legible on light and dark pages.

No text or page colour is set. Fills are half transparent, and lines take the text's colour.
"""

import base64
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.table
from PIL import Image

from tlkit._internal.tables import Table
from tlkit._internal.text import escape_controls

BLUE, ORANGE = "rgba(53, 132, 228, 0.35)", "rgba(230, 97, 0, 0.55)"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TABLE = '<table style="white-space:nowrap">'
_PICTURE = 64  # pixels of the longer side
_CURVE = (120, 28)  # pixels


def render_html(*parts: rich.console.RenderableType) -> str:
    """Return the HTML of texts, tables and values that rich can print, one below the other.

    Args:
        parts: Text (it is escaped), tables of `build_table`, groups of rich, or values with a
            `__rich__` method. Inside a group, a `_repr_html_` method takes precedence.

    Examples:
        >>> render_html("1 < 2")
        '<div style="overflow-x:auto"><div>1 &lt; 2</div></div>'
    """
    return join(
        *(_render(part.__rich__() if hasattr(part, "__rich__") else part) for part in parts)
    )


def join(*parts: str) -> str:
    """Return pieces of HTML as one element, which scrolls if it is wider than the page."""
    return f'<div style="overflow-x:auto">{"".join(filter(None, parts))}</div>'


def fold(title: str, content: str) -> str:
    """Return HTML that shows a title; a click on the title unfolds the content."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def escape(text: str) -> str:
    """Return text with markup and control characters escaped, and its line breaks as `<br>`."""
    return html.escape(escape_controls(text)).replace("\n", "<br>")


def _render(part: Any) -> str:
    if isinstance(part, str):
        return f"<div>{escape(part)}</div>"
    if isinstance(part, rich.console.Group):
        return "".join(map(_render, part.renderables))
    if isinstance(part, rich.table.Table):
        return table(part)
    if hasattr(part, "_repr_html_"):
        return str(part._repr_html_())
    return _render(part.__rich__())


def table(shown: rich.table.Table) -> str:
    """Return a table; in a column with bars, the background of a cell shows its share as a bar."""
    bars = shown.bars if isinstance(shown, Table) else ()
    names = [_plain(column.header) for column in shown.columns]
    sides = [column.justify for column in shown.columns]
    head = "".join(
        f'<th style="text-align:{side}">{escape(name)}</th>'
        for name, side in zip(names, sides, strict=True)
    )
    rows = []
    for cells in zip(*(column.cells for column in shown.columns), strict=True):
        row = zip(names, sides, map(_plain, cells), strict=True)
        rows.append(
            "".join(
                f'<td style="text-align:{side}'
                f'{_fill(text, name) if name in bars else ""}">{escape(text)}</td>'
                for name, side, text in row
            )
        )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"{_TABLE}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _plain(cell: Any) -> str:
    return str(getattr(cell, "plain", cell))


def _fill(text: str, name: str) -> str:
    """Return the style that fills a cell up to its number, a share of 1 or of 100 %."""
    found = _NUMBER.match(text)
    if found is None:
        return ""
    share = float(found[0]) * (1 if "%" in text + name else 100)
    return f";background:linear-gradient(90deg, {BLUE} {min(share, 100):.1f}%, transparent 0)"


def matrix(counts: np.ndarray, names: Sequence[str]) -> str:
    """Return a table of counts of shape (classes, classes), shaded by each cell's share of its row.

    Args:
        counts: How many images of each class (row) were assigned to each class (column).
        names: The classes' names.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    rows = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(
            f'<td style="text-align:right;background:rgba(53, 132, 228, {0.6 * share:.2f})">'
            f"{f'{count:,}' if count else ''}</td>"
            for count, share in zip(row, row_shares, strict=True)
        )
        + "</tr>"
        for name, row, row_shares in zip(names, counts.tolist(), shares.tolist(), strict=True)
    )
    return f"{_TABLE}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def curve(name: str, values: Sequence[float]) -> str:
    """Return a small line chart of a metric's values, one per epoch; "" for fewer than two."""
    known = [(at, value) for at, value in enumerate(values) if math.isfinite(value)]
    if len(known) < 2:
        return ""
    width, height = _CURVE
    low, high = min(value for _, value in known), max(value for _, value in known)
    points = " ".join(
        f"{3 + (width - 6) * at / (len(values) - 1):.1f},"
        f"{height - 3 - (height - 6) * (value - low) / ((high - low) or 1):.1f}"
        for at, value in known
    )
    title = f"{name} by epoch, from {known[0][1]:.4g} to {known[-1][1]:.4g}"
    return (
        f'<span style="display:inline-block;margin:0.3em 1em 0 0">{escape(name)}'
        f'<br><svg width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
        f'<title>{escape(title)}</title><polyline points="{points}" fill="none" '
        f'stroke="currentColor" stroke-width="1.5"/></svg>'
        f"<br>{known[0][1]:.4g} to {known[-1][1]:.4g}</span>"
    )


def strip(groups: Sequence[tuple[str, str]]) -> str:
    """Return a strip of narrow cells, one for each pair of a colour and a tooltip."""
    cells = "".join(
        f'<rect x="{at}" width="0.8" height="1" fill="{colour}"><title>{escape(title)}</title>'
        "</rect>"
        for at, (colour, title) in enumerate(groups)
    )
    return (
        f'<svg viewBox="0 0 {len(groups)} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="layers" style="width:100%;max-width:640px;height:18px">{cells}</svg>'
    )


def pictures(images: Mapping[str, np.ndarray], value_range: tuple[float, float]) -> str:
    """Return small pictures in a row, with their names below.

    Args:
        images: Each image, with or without a channel axis, by its name.
        value_range: The pixel values of black and of white.
    """
    return "".join(
        '<figure style="display:inline-block;margin:0.3em;text-align:center">'
        f'<img alt="{escape(name)}" height="{_PICTURE}" style="image-rendering:pixelated" '
        f'src="data:image/png;base64,{_encode(image, value_range)}">'
        f'<figcaption style="font-size:0.85em">{escape(name)}</figcaption></figure>'
        for name, image in images.items()
    )


def _encode(image: np.ndarray, value_range: tuple[float, float]) -> str:
    low, high = value_range
    scaled = (np.asarray(image, "float32") - low) / max(high - low, 1e-12)
    pixels = np.nan_to_num(255 * np.clip(scaled, 0, 1)).round().astype("uint8")
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]
    picture = Image.fromarray(pixels)
    picture.thumbnail((2 * _PICTURE, 2 * _PICTURE))  # stays sharp on high-resolution screens
    if picture.height < _PICTURE:  # some viewers ignore the height attribute
        factor = -(-_PICTURE // picture.height)
        picture = picture.resize(
            (factor * picture.width, factor * picture.height), Image.Resampling.NEAREST
        )
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
