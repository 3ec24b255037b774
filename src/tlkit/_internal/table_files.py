"""Tables that are written row by row, as CSV, Parquet or NPZ, and replace their file atomically."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from tlkit._internal import arguments, optional
from tlkit._internal.files import replace_atomically, to_write_error
from tlkit.errors import Argument, ConfigError

Columns = Mapping[str, int]
"""The size of each column: 0 for text, 1 for a number, n > 1 for n numbers, or YES_NO."""

YES_NO = -1
"""The size of a column of booleans."""

Write = Callable[[Sequence[Any]], None]
_ROWS = 2048  # rows that are written to a Parquet file at a time
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]*)?")


def check_target(argument: str, value: str | Path, suffixes: Sequence[str]) -> Path:
    """Check and return a path for a table, before hours are spent on computing its rows.

    Args:
        argument: The argument's name, for the error.
        value: The path to check.
        suffixes: The accepted suffixes, such as ".csv".

    Raises:
        ConfigError: The path has another suffix, is a folder, or its folder does not exist.
        MissingExtraError: The extra for Parquet is not installed.
    """
    path = arguments.path(argument, value)
    kind = path.suffix.lower()
    if kind not in suffixes or path.is_dir() or not path.parent.is_dir():
        raise ConfigError(
            Argument(argument),
            f" must be a {' or '.join(suffixes)} file in an existing folder, got {str(path)!r}.",
        )
    if kind == ".parquet":
        optional.require("pyarrow.parquet", extra="parquet")
    return path


@contextmanager
def open_table(path: Path, columns: Columns) -> Iterator[Write]:
    """Yield a function that writes one row; the file appears if the block ends without an error.

    Args:
        path: A `.csv`, `.parquet` or `.npz` file; an existing file is replaced.
        columns: The name and size of each column. A missing value is None, except in `.npz` files.

    Raises:
        StoreError: The disk is full, or the file may not be written.
    """
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(replace_atomically(path))
            write = stack.enter_context(_WRITERS[path.suffix.lower()](temporary, columns))
        except OSError as error:
            raise to_write_error(path, error) from error

        def write_row(row: Sequence[Any]) -> None:
            try:
                write(row)
            except OSError as error:
                raise to_write_error(path, error) from error

        yield write_row
        try:
            stack.close()
        except OSError as error:
            raise to_write_error(path, error) from error


# A spreadsheet runs a cell that begins with =, +, - or @ as a formula, so an image file whose name
# is a formula could read other cells and send them away. A path gets the prefix "./", which keeps
# its meaning; other text gets an apostrophe, which spreadsheets hide. Numbers stay unchanged.
def disarm(text: str, *, is_path: bool = False) -> str:
    """Return text that no spreadsheet interprets as a formula.

    Examples:
        >>> disarm("=1+1"), disarm("-5"), disarm("-a.jpg", is_path=True)
        ("'=1+1", '-5', './-a.jpg')
    """
    if not _FORMULA.match(text) or (_NUMBER.fullmatch(text) and not is_path):
        return text
    return ("./" if is_path else "'") + text


@contextmanager
def _write_csv(path: Path, columns: Columns) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        header: list[str] = []
        for name, size in columns.items():
            header += [name] if size < 2 else [f"{name}_{at}" for at in range(size)]
        writer.writerow(header)

        def write(row: Sequence[Any]) -> None:
            cells: list[Any] = []
            for (name, size), value in zip(columns.items(), row, strict=True):
                if size == YES_NO:
                    cells.append("" if value is None else str(value).lower())
                elif size == 0:
                    cells.append(disarm(value or "", is_path=name == "path"))
                else:  # str(float32) has no more digits than float32 has
                    numbers = [""] * size if value is None else np.atleast_1d(np.float32(value))
                    cells.extend(map(str, numbers))
            writer.writerow(cells)

        yield write


@contextmanager
def _write_parquet(path: Path, columns: Columns) -> Iterator[Write]:
    arrow = optional.require("pyarrow", extra="parquet")
    parquet = optional.require("pyarrow.parquet", extra="parquet")
    number = arrow.float32()
    kinds = {0: arrow.string(), 1: number, YES_NO: arrow.bool_()}
    schema = arrow.schema(
        [(name, kinds.get(size, arrow.list_(number))) for name, size in columns.items()]
    )
    rows: list[Sequence[Any]] = []
    with parquet.ParquetWriter(path, schema) as file:

        def flush() -> None:
            arrays = [
                arrow.array(values, type=field.type)
                for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            file.write_table(arrow.table(arrays, schema=schema))
            rows.clear()

        def write(row: Sequence[Any]) -> None:
            rows.append(row)
            if len(rows) == _ROWS:
                flush()

        yield write
        if rows:
            flush()


@contextmanager
def _write_npz(path: Path, columns: Columns) -> Iterator[Write]:
    """Write one array per column; vectors are buffered in a temporary file, not in memory."""
    values: dict[str, list[Any]] = {name: [] for name, size in columns.items() if size < 2}
    with ExitStack() as stack:
        vectors = {
            name: stack.enter_context(TemporaryFile(dir=path.parent))
            for name, size in columns.items()
            if size > 1
        }
        written = 0

        def write(row: Sequence[Any]) -> None:
            nonlocal written
            for name, value in zip(columns, row, strict=True):
                if name in vectors:
                    vectors[name].write(np.float32(value).tobytes())
                else:
                    values[name].append(value)
            written += 1

        yield write
        arrays: dict[str, Any] = {name: np.asarray(each) for name, each in values.items()}
        for name, file in vectors.items():
            file.flush()
            shape = (written, columns[name])
            arrays[name] = (
                np.memmap(file, "float32", "r", shape=shape) if written else np.empty(shape)
            )
        np.savez(path, **arrays)


_WRITERS = {".csv": _write_csv, ".npz": _write_npz, ".parquet": _write_parquet}
