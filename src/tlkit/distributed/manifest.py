"""A table of image files in Parquet, and its parts, which are processed one at a time."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tlkit._internal import arguments
from tlkit._internal.optional import require
from tlkit._internal.text import show
from tlkit.data import naming
from tlkit.distributed.storage import Location, explain
from tlkit.errors import Argument, ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive rows of a manifest.

    Attributes:
        number: The number of the part in the manifest, from 0.
        file: The number of the Parquet file.
        group: The number of the row group in the file.
        start: The first row in the row group.
        stop: The row after the last row.
    """

    number: int
    file: int
    group: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a part.

    Attributes:
        paths: The paths of the images, as in the manifest.
        labels: The class name of each image; None where it is missing.
    """

    paths: list[str]
    labels: list[str | None]

    @property
    def name(self) -> str:
        """A name that differs from that of all other rows: their digest."""
        content = json.dumps([self.paths, self.labels]).encode()
        return hashlib.blake2b(content, digest_size=16).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A table of image files.

    Attributes:
        files: The Parquet files of the table.
        folder: The folder that relative paths of images start from.
        path_column: The column of paths.
        label_column: The column of class names; None without labels.
        outside_paths: Whether paths may lead out of the folder.
    """

    files: tuple[Location, ...]
    folder: Location
    path_column: str
    label_column: str | None
    outside_paths: bool

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return [self.path_column, *([] if self.label_column is None else [self.label_column])]

    def plan(self, rows: int) -> Iterator[Part]:
        """Yield the parts, of at most `rows` rows each.

        Raises:
            ConfigError: A file is not a Parquet file with the columns.
        """
        number = 0
        for index, file in enumerate(self.files):
            about = _read_metadata(file, self.columns)
            for group in range(about.num_row_groups):
                count = about.row_group(group).num_rows
                for start in range(0, count, rows):
                    stop = min(start + rows, count)
                    yield Part(number=number, file=index, group=group, start=start, stop=stop)
                    number += 1

    def read(self, part: Part) -> Rows:
        """Return the rows of a part.

        Raises:
            DataError: A label can't be a class name.
        """
        table = _read_group(self.files[part.file], part.group, tuple(self.columns))
        table = table.slice(part.start, part.stop - part.start)
        paths = ["" if each is None else str(each) for each in table[self.path_column].to_pylist()]
        if self.label_column is None:
            return Rows(paths=paths, labels=[])
        labels = table[self.label_column].to_pylist()
        return Rows(paths=paths, labels=naming.from_labels(labels, column=self.label_column))

    def find_fault(self, path: str) -> str:
        """Return why an image must not be read; empty text if it may be."""
        if not path:
            return f"column {self.path_column!r} is empty"
        if not self.outside_paths and _leads_out(path):
            return "its path leads out of the folder"
        return naming.find_fault(path)


def open_manifest(
    location: Location,
    *,
    folder: Location | None,
    path_column: str,
    label_column: str | None,
    outside_paths: bool,
) -> Manifest:
    """Return a table of image files: a Parquet file, or a folder of them.

    Args:
        location: The location of the file or folder.
        folder: The folder that relative paths start from; None means that of the table.
        path_column: The column of paths.
        label_column: The column of class names.
        outside_paths: Whether paths may lead out of the folder.

    Raises:
        ConfigError: There is no such table, it can't be read, or it lacks a column.
    """
    try:
        is_folder = location.is_folder
        files = location.list_files(".parquet") if is_folder else [location]
        exists = bool(files) and files[0].stat() is not None
    except OSError as error:
        raise _refuse(location, explain(error)) from error
    if not exists:
        raise _refuse(location, "it has no .parquet file" if is_folder else "it does not exist")
    _read_group.cache_clear()  # the files may be others than before
    found = Manifest(
        files=tuple(files),
        folder=folder or find_folder(location),
        path_column=path_column,
        label_column=label_column,
        outside_paths=outside_paths,
    )
    _read_metadata(files[0], found.columns)
    return found


def find_folder(location: Location) -> Location:
    """Return the folder that relative paths of a manifest start from.

    Args:
        location: The location of the manifest's file or folder.

    Raises:
        OSError: The store can't be reached, or denies access.
    """
    return location if location.is_folder else location.parent


def _leads_out(path: str) -> bool:
    scheme, _, _ = path.partition("://")
    is_local = scheme in (path, "file")
    return is_local and (path.startswith(("/", "\\", "file:")) or ".." in path.split("/"))


def _refuse(location: Location, reason: str) -> ConfigError:
    return ConfigError(
        Argument("manifest"),
        f" must be a Parquet file, or a folder of them, that can be read, got {str(location)!r}: "
        f"{reason}.",
    )


def _read_metadata(file: Location, wanted: Sequence[str]) -> Any:
    """Return the metadata of a Parquet file that has these columns."""
    parquet = require("pyarrow.parquet", extra="ray")
    try:
        with file.open() as opened:
            found = parquet.ParquetFile(opened)
            about, names = found.metadata, found.schema_arrow.names
    except (OSError, ValueError) as error:  # Arrow raises these too
        raise _refuse(file, explain(error)) from error
    for name in wanted:
        if name not in names:
            raise ConfigError(
                Argument("manifest"),
                f" must have a column {show(name)}, got {show(list(names))} in {str(file)!r}."
                f"{arguments.nearest(name, names)}",
            )
    return about


@lru_cache(maxsize=1)  # consecutive parts are mostly in one row group
def _read_group(file: Location, group: int, columns: tuple[str, ...]) -> Any:
    parquet = require("pyarrow.parquet", extra="ray")
    try:
        with file.open() as opened:
            return parquet.ParquetFile(opened).read_row_group(group, columns=list(columns))
    except (OSError, ValueError) as error:
        raise DataError(f"{str(file)!r} can't be read: {explain(error)}.") from error
