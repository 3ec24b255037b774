"""Tables of images as columns: CSV, and Parquet."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkit._internal import arguments, optional
from tlkit.errors import ConfigError, DataError

SUFFIXES = (".csv", ".tsv", ".parquet")
_SIGNS = ",;\t|"


def read_columns(path: Path, wanted: Sequence[str]) -> Mapping[str, list[Any]]:
    """Return columns of a `.csv` or `.tsv` table in UTF-8, or of a `.parquet` one.

    Text is without spaces around it; missing values are empty text. The sign between the columns of
    a `.csv` table is a comma, semicolon, tab or "|": the one that finds the wanted columns.

    Args:
        path: The table.
        wanted: The columns' names.

    Raises:
        ConfigError: There is no such file or column.
        DataError: It is no such table.
        MissingExtraError: The extra for Parquet is not installed.
    """
    if not path.is_file():
        raise ConfigError(f"`manifest` must be a file, got {str(path)!r}: no such file.")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ConfigError(f"`manifest` must end in .csv or .parquet, got {str(path)!r}.")
    try:
        table = _read_parquet(path) if kind == ".parquet" else _read_csv(path, wanted)
    except (ValueError, OSError, csv.Error) as error:  # Arrow's errors are those too
        raise DataError(
            f"{str(path)!r} must be a {kind[1:]} table"
            + (" in UTF-8" * (kind != ".parquet"))
            + f", got {error}. Save it anew as one."
        ) from error
    for name in wanted:
        if name not in table:
            raise ConfigError(
                f"`manifest` must have a column {name!r}, got {list(table)}."
                f"{arguments.nearest(name, table)}"
            )
    return {name: [_cell(value) for value in table[name]] for name in wanted}


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value.strip() if isinstance(value, str) else value


def _read_parquet(path: Path) -> Mapping[str, list[Any]]:
    found: Mapping[str, list[Any]]
    found = optional.require("pyarrow.parquet", extra="parquet").read_table(path).to_pydict()
    return found


def _read_csv(path: Path, wanted: Sequence[str]) -> Mapping[str, list[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        found = (next(csv.reader([header], delimiter=sign), []) for sign in _SIGNS)
        signs = (sign for sign, names in zip(_SIGNS, found, strict=True) if {*wanted} <= {*names})
        file.seek(0)
        sign = next(signs, max(_SIGNS, key=header.count))
        reader = csv.DictReader(file, delimiter=sign)
        rows = list(reader)
    for number, row in enumerate(rows, start=1):
        if None in row:  # where DictReader puts what is too much
            raise ValueError(f"more cells than columns in row {number}")
    return {name: [row[name] for row in rows] for name in reader.fieldnames or ()}
