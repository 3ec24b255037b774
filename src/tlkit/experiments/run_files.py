"""Read the files of a run's folder, with a clear error for a file that is damaged or changed."""

import csv
import io
import json
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import regular_files
from tlkit.errors import ConfigError
from tlkit.experiments import checksums

_MAX_BYTES = 2**30
_ERRORS = (
    *(AttributeError, csv.Error, EOFError, LookupError, OverflowError, RecursionError),
    *(TypeError, ValueError),
)


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Return the content of a JSON file of a run.

    Args:
        path: The file.
        keys: The names that the file must contain.

    Raises:
        ConfigError: There is no such file, or it has changed since the run wrote it.
    """
    with explain_damage(path):
        values = json.loads(_read_text(path))
        if not isinstance(values, dict):
            raise ValueError(f"it holds {type(values).__name__}, not names and values")
        missing = [key for key in keys if key not in values]
        if missing:
            raise ValueError(f"it has no {missing}")
    return values


def read_csv(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file of a run.

    Args:
        path: The file.
        columns: The columns that the file must have.

    Raises:
        ConfigError: There is no such file, or it has changed since the run wrote it.
    """
    with explain_damage(path):
        reader = csv.DictReader(io.StringIO(_read_text(path), newline=""), strict=True)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"it has no column {missing}")
        rows = list(reader)
        for number, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise ValueError(f"row {number} has another number of values than the first")
    return rows


def read_array(path: Path) -> np.ndarray:
    """Return the array of numbers in an `.npy` file of a run.

    Raises:
        ConfigError: There is no such file, or it has changed since the run wrote it.
    """
    with explain_damage(path):
        content = io.BytesIO(_read_bytes(path))
        array: np.ndarray = np.load(content, allow_pickle=False)
        if not (isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating)):
            raise ValueError("it does not hold an array of numbers")
        if not np.isfinite(array).all():
            raise ValueError("some of its numbers are infinite or not a number")
    return array


def read_text(path: Path) -> str:
    """Return the content of a text file of a run.

    Raises:
        ConfigError: There is no such file, or it has changed since the run wrote it.
    """
    with explain_damage(path):
        return _read_text(path)


def _read_text(path: Path) -> str:
    return _read_bytes(path).decode("utf-8")


def _read_bytes(path: Path) -> bytes:
    content = regular_files.read_bytes(path, max_bytes=_MAX_BYTES)
    checksums.check(path, content)
    return content


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Raise an error that names a file of a run if a block that reads it fails.

    Raises:
        ConfigError: The block fails.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ConfigError(f"{str(path)!r} must be a file of the run, got none.") from error
    except ConfigError as error:
        if str(path) in str(error):
            raise
        raise _to_error(path, error) from error
    except OSError as error:
        raise ConfigError(f"Can't read {str(path)!r}: {regular_files.reason(error)}.") from error
    except _ERRORS as error:
        raise _to_error(path, error) from error


def _to_error(path: Path, error: Exception) -> ConfigError:
    reason = textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...")
    reason = reason.removesuffix(".")
    return ConfigError(
        f"{str(path)!r} must be as the run wrote it, got a file that is damaged or was changed: "
        f"{reason}. Restore it from a copy of the run, or train again."
    )
