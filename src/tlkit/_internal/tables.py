"""Tables by rich, and conversion of any printable value to plain text."""

import io
from collections.abc import Iterable, Sequence
from typing import Literal

import rich.console
import rich.measure
import rich.table
import rich.text
from rich.cells import cell_len

from tlkit._internal.text import escape_controls

_WIDTH = 1000  # columns of text: wide enough that no table is wrapped


class Table(rich.table.Table):
    """A table with bars in some of its columns, in an output that can draw them.

    Attributes:
        bars: The names of the columns with bars. Their cells are shares of 1, or percentages with a
            percent sign in the cell or in the column's name.
    """

    bars: tuple[str, ...] = ()


def build_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, align: str, bars: Sequence[str] = ()
) -> Table:
    """Return a table without lines; rich interprets no markup in its text.

    Args:
        columns: The name of each column.
        rows: The cells of each row.
        align: A letter for each column: "l" for left, "r" for right.
        bars: The columns with shares, which a notebook shows with bars.

    Examples:
        >>> print(render_text(build_table(("name", "count"), [("daisy", "12")], align="lr")))
        name   count
        daisy     12
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.bars = tuple(bars)
    for name, letter in zip(columns, align, strict=True):
        side: Literal["left", "right"] = "right" if letter == "r" else "left"
        table.add_column(_to_text(name), justify=side, overflow="fold")
    for row in rows:
        cells = [_to_text(cell) for cell in row]
        table.add_row(*cells)
        for column, cell in zip(table.columns, cells, strict=True):  # so only headings are wrapped
            column.min_width = max(column.min_width or 0, cell_len(cell.plain))
    return table


def _to_text(cell: str) -> rich.text.Text:
    return rich.text.Text(escape_controls(cell))


def find_width(value: rich.console.RenderableType, console: rich.console.Console) -> int:
    """Return the console's width, or a larger one if a table needs it to wrap no cell."""
    parts = value.renderables if isinstance(value, rich.console.Group) else [value]
    tables = [part for part in parts if isinstance(part, rich.table.Table)]
    wide = console.options.update(max_width=_WIDTH)
    least = [rich.measure.Measurement.get(console, wide, each).minimum for each in tables]
    return max([console.width, *least])


def render_text(value: rich.console.RenderableType) -> str:
    """Return a value as rich prints it, in plain text, independent of a terminal.

    Examples:
        >>> render_text("12 images")
        '12 images'
    """
    page = io.StringIO()
    console = rich.console.Console(
        file=page,
        width=_WIDTH,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )
    console.print(value)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())
