"""Tables of images as columns of text: CSV, and Parquet."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkit._internal import arguments, optional
from tlkit.errors import ConfigError, DataError

SUFFIXES = (".csv", ".parquet")


def read_columns(path: Path, wanted: Sequence[str]) -> Mapping[str, list[str]]:
    """Return columns of a `.csv` table in UTF-8, or of a `.parquet` one, as text.

    Args:
        path: The table.
        wanted: The columns' names.

    Raises:
        ConfigError: There is no such file or column.
        DataError: It is no such table, or a cell of these columns is empty.
        MissingExtraError: The extra for Parquet is not installed.
    """
    if not path.is_file():
        raise ConfigError(f"`manifest` must be a file, got {str(path)!r}: no such file.")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ConfigError(f"`manifest` must end in .csv or .parquet, got {str(path)!r}.")
    try:
        table = _read_parquet(path) if kind == ".parquet" else _read_csv(path)
    except (ValueError, OSError, csv.Error) as error:  # Arrow's errors are those too
        raise DataError(
            f"{str(path)!r} must be a {kind[1:]} table" + (" in UTF-8" * (kind == ".csv")) + ", "
            f"got {error}. Save it anew as one."
        ) from error
    for name in wanted:
        if name not in table:
            raise ConfigError(
                f"`manifest` must have a column {name!r}, got {list(table)}."
                f"{arguments.nearest(name, table)}"
            )
    cells = {name: [_cell(value) for value in table[name]] for name in wanted}
    for name, values in cells.items():
        if "" in values:
            row = values.index("") + 1
            raise DataError(f"Column {name!r} of {str(path)!r} is empty in row {row}.")
    return cells


def _cell(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _read_parquet(path: Path) -> Mapping[str, list[Any]]:
    found: Mapping[str, list[Any]]
    found = optional.require("pyarrow.parquet", extra="parquet").read_table(path).to_pydict()
    return found


def _read_csv(path: Path) -> Mapping[str, list[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=1):
        if None in row:  # where DictReader puts what is too much
            raise ValueError(f"more cells than columns in row {number}")
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
