"""Parquet files of features: a row for each image, with its digest, label and problem."""

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkit._internal.optional import require
from tlkit.distributed.storage import Location, Stamp

ENDING = ".parquet"
_THREADS = 16  # for reading the digests of files; they mostly wait
_SIZE = "features"  # in a file's metadata
_DESCRIPTION = ("path", "label", "digest", "content", "problem")
_UNKNOWN = -1  # the time of a file if its store does not tell it


@dataclass(kw_only=True, eq=False)
class FeatureRows:
    """The rows of one file.

    Attributes:
        paths: The paths of the images, as in the manifest.
        labels: The class name of each image; None where it is missing.
        digests: The digest of each image, `(count, 2)`; 0 for an unreadable image.
        contents: The digest of each file's content, `(count, 2)`; 0 for an unreadable image.
        stamps: The size and the time of each image file when it was read, `(count, 2)`.
        features: `(count, size)`; 0 for an unreadable image.
        problems: Why an image is unreadable; empty text for others.
    """

    paths: list[str]
    labels: list[str | None]
    digests: np.ndarray
    contents: np.ndarray
    stamps: np.ndarray
    features: np.ndarray
    problems: list[str]

    @classmethod
    def empty(
        cls, paths: list[str], labels: list[str | None], size: int, dtype: str
    ) -> "FeatureRows":
        """Return rows without content, to be filled."""
        count = len(paths)
        return cls(
            paths=paths,
            labels=labels,
            digests=np.zeros((count, 2), "uint64"),
            contents=np.zeros((count, 2), "uint64"),
            stamps=np.zeros((count, 2), "int64"),
            features=np.zeros((count, size), dtype),
            problems=[""] * count,
        )

    @property
    def readable(self) -> np.ndarray:
        """Whether each image has features, `(count,)`."""
        return np.array([not problem for problem in self.problems], bool)

    def is_unchanged(self, row: int, stamp: Stamp | None) -> bool:
        """Return whether a file has the same size and time as when it was read."""
        size, modified = self.stamps[row].tolist()
        return (
            stamp is not None
            and modified != _UNKNOWN
            and stamp == Stamp(size=size, modified=modified)
        )

    def set_stamp(self, row: int, stamp: Stamp | None) -> None:
        """Store the size and the time of a file."""
        known = stamp or Stamp(size=0, modified=None)
        self.stamps[row] = known.size, _UNKNOWN if known.modified is None else known.modified


def write(file: Location, rows: FeatureRows) -> None:
    """Write a file of features atomically.

    Raises:
        StoreError: It can't be written.
    """
    arrow = require("pyarrow", extra="ray")
    count, size = rows.features.shape
    columns = {
        "path": arrow.array(rows.paths, arrow.string()),
        "label": arrow.array(rows.labels or [None] * count, arrow.string()),
        "digest": _to_column(rows.digests),
        "content": _to_column(rows.contents),
        "size": arrow.array(rows.stamps[:, 0]),
        "modified": arrow.array(rows.stamps[:, 1]),
        "features": arrow.ListArray.from_arrays(
            arrow.array(np.arange(count + 1, dtype="int32") * size),
            arrow.array(rows.features.reshape(-1)),
            mask=arrow.array(~rows.readable),
        ),
        "problem": arrow.array([each or None for each in rows.problems], arrow.string()),
    }
    content = io.BytesIO()
    require("pyarrow.parquet", extra="ray").write_table(
        arrow.table(columns, metadata={_SIZE: str(size)}),
        content,
        compression="zstd",
        use_dictionary=["label"],
        write_page_checksum=True,
        write_statistics=["label"],
    )
    file.write(content.getvalue())


def _to_column(digests: np.ndarray) -> Any:
    arrow = require("pyarrow", extra="ray")
    content = arrow.py_buffer(digests.astype("<u8").tobytes())
    return arrow.FixedSizeBinaryArray.from_buffers(arrow.binary(16), len(digests), [None, content])


def read(file: Location) -> FeatureRows | None:
    """Return the rows of a file; None if it is missing, damaged, or lacks a column.

    Raises:
        OSError: The store can't be reached, or denies access.
    """
    table = _read_columns(file, None)
    if table is None or "content" not in table.column_names:  # of a version without this column
        return None
    features, digests = _to_features(table), _to_digests(table["digest"])
    stamps = [table[name].to_numpy() for name in ("size", "modified")]
    return FeatureRows(
        paths=table["path"].to_pylist(),
        labels=table["label"].to_pylist(),
        digests=digests,
        contents=_to_digests(table["content"]),
        stamps=np.stack(stamps, axis=1),
        features=features,
        problems=[each or "" for each in table["problem"].to_pylist()],
    )


def read_features(file: Location) -> np.ndarray | None:
    """Return the features in a file, with rows of 0 for unreadable images; None as for `read`.

    Raises:
        OSError: The store can't be reached, or denies access.
    """
    table = _read_columns(file, ["features"])
    return None if table is None else _to_features(table)


@dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """The readable images of a file, without their features.

    Attributes:
        paths: The path of each image, as in the manifest.
        labels: The class name of each image; None where it is missing.
        digests: The digest of each image, `(count, 2)`.
        contents: The digest of each file's content, `(count, 2)`; None in files of a version that
            did not write it.
    """

    paths: list[str]
    labels: list[str | None]
    digests: np.ndarray
    contents: np.ndarray | None


def describe(file: Location) -> Described | None:
    """Return the readable images of a file, without their features; None as for `read`.

    Raises:
        OSError: The store can't be reached, or denies access.
    """
    table = _read_columns(file, list(_DESCRIPTION))
    return None if table is None else _describe(table)


def read_training(file: Location) -> tuple[np.ndarray, Described] | None:
    """Return the features and the readable images of a file; None as for `read`.

    Raises:
        OSError: The store can't be reached, or denies access.
    """
    table = _read_columns(file, ["features", *_DESCRIPTION])
    if table is None:
        return None
    return _to_features(table)[_find_readable(table)], _describe(table)


def _describe(table: Any) -> Described:
    table = table.filter(table["problem"].is_null())
    has_content = "content" in table.column_names
    return Described(
        paths=table["path"].to_pylist(),
        labels=table["label"].to_pylist(),
        digests=_to_digests(table["digest"]),
        contents=_to_digests(table["content"]) if has_content else None,
    )


def _find_readable(table: Any) -> np.ndarray:
    return np.asarray(table["problem"].combine_chunks().is_null().to_numpy(zero_copy_only=False))


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """The places of the features of known images, in the order of their digests.

    Attributes:
        files: The files of features.
        digests: The digests of the images, `(count, 2)`, sorted.
        places: The number of the file and the row in it, `(count, 2)`.
    """

    files: tuple[Location, ...]
    digests: np.ndarray
    places: np.ndarray

    def find(self, digest: np.ndarray) -> tuple[Location, int] | None:
        """Return the file and the row of an image's features; None if they are unknown."""
        at = int(np.searchsorted(self.digests[:, 0], digest[0]))
        while at < len(self.digests) and self.digests[at, 0] == digest[0]:
            if self.digests[at, 1] == digest[1]:
                file, row = self.places[at].tolist()
                return self.files[file], row
            at += 1
        return None


NO_INDEX = Index(files=(), digests=np.zeros((0, 2), "uint64"), places=np.zeros((0, 2), "int32"))
"""The index of no features."""


def make_index(files: Sequence[Location]) -> Index:
    """Return the index of the features in these files; damaged files are left out.

    Raises:
        OSError: The store can't be reached, or denies access.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="tlkit-index") as pool:
        tables = list(pool.map(lambda file: _read_columns(file, ["digest", "problem"]), files))
    digests, places = [np.zeros((0, 2), "uint64")], [np.zeros((0, 2), "int32")]
    for number, table in enumerate(tables):
        if table is not None:
            rows = np.flatnonzero(_find_readable(table))
            digests.append(_to_digests(table["digest"])[rows])
            places.append(np.stack([np.full(len(rows), number), rows], axis=1).astype("int32"))
    known = np.concatenate(digests)
    order = np.argsort(known[:, 0], kind="stable")
    return Index(
        files=tuple(files),
        digests=np.ascontiguousarray(known[order]),
        places=np.concatenate(places)[order],
    )


def _read_columns(file: Location, columns: list[str] | None) -> Any:
    parquet = require("pyarrow.parquet", extra="ray")
    if file.stat() is None:
        return None
    try:
        with file.open() as opened:
            return parquet.ParquetFile(opened, page_checksum_verification=True).read(columns)
    except (OSError, ValueError, KeyError):  # Arrow raises these for damaged files
        return None


def _to_features(table: Any) -> np.ndarray:
    column = table["features"].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)  # of the readable images only
    size = int(table.schema.metadata[_SIZE.encode()])
    rows = np.zeros((len(column), size), values.dtype)
    rows[column.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, size)
    return rows


def _to_digests(column: Any) -> np.ndarray:
    content = b"".join(column.to_pylist())
    return np.frombuffer(content, "<u8").astype("uint64").reshape(-1, 2)


def encode(value: Any) -> bytes:
    """Return a value as the text of a JSON file."""
    return json.dumps(value, indent=2, sort_keys=True).encode()
