"""Rows of words in columns that line up, for a screen of fixed-width letters."""

from collections.abc import Iterable, Sequence


def aligned(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a line of column names and one for each row.

    Examples:
        >>> aligned(("name", "count"), [("daisy", "12")])
        ['name   count', 'daisy  12']
    """
    whole = [tuple(columns), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in whole
    ]
