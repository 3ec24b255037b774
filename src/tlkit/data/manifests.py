"""Read the columns of a table of images: CSV, TSV or Parquet."""

import csv
import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkit._internal import arguments, optional, regular_files, text
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DataError

SUFFIXES = (".csv", ".tsv", ".parquet")
_SIGNS = ",;\t|"
_MAX_BYTES, _MAX_ROWS = 2 * 10**9, 10**8


def read_columns(path: Path, wanted: Sequence[str]) -> Mapping[str, list[Any]]:
    """Return columns of a `.csv` or `.tsv` table in UTF-8, or of a `.parquet` table.

    Text is stripped of surrounding spaces; missing values become empty text. The separator of a
    `.csv` table may be a comma, semicolon, tab or "|": the first one with which the header has the
    wanted columns.

    Args:
        path: The table.
        wanted: The names of the columns.

    Raises:
        ConfigError: The file or a column does not exist.
        DataError: The file is not such a table.
        MissingExtraError: The extra for Parquet is not installed.
    """
    why = regular_files.find_obstacle(path)
    if why:
        raise ConfigError(Argument("manifest"), f" must be a file, got {str(path)!r}: {why}.")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ConfigError(
            Argument("manifest"), f" must end in .csv or .parquet, got {str(path)!r}."
        )
    try:
        table = _read_parquet(path, wanted) if kind == ".parquet" else _read_csv(path, wanted)
    except (ValueError, OSError, OverflowError, csv.Error) as error:  # Arrow's are those too
        raise DataError(
            f"{str(path)!r} must be a {kind[1:]} table"
            + (" in UTF-8" * (kind != ".parquet"))
            + f", got {_explain(error)}. Save it again as one."
        ) from error
    for name in wanted:
        if name not in table:
            raise ConfigError(
                Argument("manifest"),
                f" must have a column {show(name)}, got {show(list(table))}."
                f"{arguments.nearest(name, table)}",
            )
    return {name: [_cell(value) for value in table[name]] for name in wanted}


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value.strip() if isinstance(value, str) else value


def _explain(error: Exception) -> str:
    reason = regular_files.reason(error) if isinstance(error, OSError) else str(error)
    return textwrap.shorten(reason, 200, placeholder=" ...")


# A Parquet file of kilobytes can hold a thousand million equal rows, or columns that unpack to
# gigabytes. Its footer states both sizes, so they are checked before any row is read.
def _read_parquet(path: Path, wanted: Sequence[str]) -> Mapping[str, list[Any]]:
    with optional.require("pyarrow.parquet", extra="parquet").ParquetFile(path) as file:
        about, names = file.metadata, file.schema_arrow.names
        size = sum(about.row_group(at).total_byte_size for at in range(about.num_row_groups))
        if about.num_rows > _MAX_ROWS or size > _MAX_BYTES:
            raise ValueError(f"{about.num_rows:,} rows that unpack to {text.byte_size(size)}")
        kept = [name for name in dict.fromkeys(wanted) if name in names]
        found: Mapping[str, list[Any]] = file.read(columns=kept).to_pydict()
        return {name: found.get(name, []) for name in names}


def _read_csv(path: Path, wanted: Sequence[str]) -> Mapping[str, list[Any]]:
    with (
        regular_files.open_regular(path) as opened,
        io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as file,
    ):
        size = os.fstat(opened.fileno()).st_size
        if size > _MAX_BYTES:
            raise ValueError(f"a file of {text.byte_size(size)}")
        header = file.readline()
        found = (next(csv.reader([header], delimiter=sign), []) for sign in _SIGNS)
        signs = (sign for sign, names in zip(_SIGNS, found, strict=True) if {*wanted} <= {*names})
        file.seek(0)
        sign = next(signs, max(_SIGNS, key=header.count))
        reader = csv.DictReader(file, delimiter=sign)
        rows = list(reader)
    for number, row in enumerate(rows, start=1):
        if None in row:  # DictReader's key of surplus cells
            raise ValueError(f"more cells than columns in row {number}")
    return {name: [row[name] for row in rows] for name in reader.fieldnames or ()}
