"""Write a manifest as a folder of Parquet files, and read one through to count and to draw rows."""

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tlkit._internal.optional import require
from tlkit.distributed.manifest import Manifest
from tlkit.distributed.storage import Location
from tlkit.errors import DataError

_FILE_ROWS, _GROUP_ROWS = 1_000_000, 65_536
_READ_ROWS = 65_536


def write_manifest(folder: Location, rows: Iterable[tuple[str, str]]) -> None:
    """Write paths and class names of images; memory holds a million rows.

    Args:
        folder: The folder; files of an earlier manifest in it are replaced.
        rows: The path and the class name of each image.

    Raises:
        DataError: There are no rows; the message names the folder.
        StoreError: The folder can't be written.
    """
    folder.make_folder()
    remaining, written = iter(rows), set[str]()
    while block := list(itertools.islice(remaining, _FILE_ROWS)):
        file = folder.join(f"part-{len(written):05}.parquet")
        file.write(_to_parquet(block))
        written.add(file.text)
    if not written:
        raise DataError(f"There must be images for the list in '{folder}', got none.")
    for file in folder.list_files(".parquet"):
        if file.text not in written:
            file.remove()


def _to_parquet(rows: list[tuple[str, str]]) -> bytes:
    arrow = require("pyarrow", extra="ray")
    paths, labels = zip(*rows, strict=True)
    sink = arrow.BufferOutputStream()
    require("pyarrow.parquet", extra="ray").write_table(
        arrow.table({"path": list(paths), "label": list(labels)}),
        sink,
        row_group_size=_GROUP_ROWS,
        compression="zstd",
    )
    return bytes(sink.getvalue())


@dataclass(frozen=True, kw_only=True, eq=False)
class ManifestSurvey:
    """How many images a manifest lists, and some of them.

    Attributes:
        num_rows: The number of rows.
        num_eligible: The number of rows of which some were drawn.
        class_counts: The number of images of each class.
        paths: The paths of the rows that were drawn, in the order of the manifest.
        labels: Their class names.
    """

    num_rows: int
    num_eligible: int
    class_counts: dict[str, int]
    paths: list[str]
    labels: list[str]


def survey_manifest(
    manifest: Manifest, *, max_drawn: int, seed: int, excluded: tuple[str, ...] = ()
) -> ManifestSurvey:
    """Read a manifest once, count its rows, and draw some at random.

    Which rows are drawn depends on their paths, so that most stay the same if rows are added. Rows
    without a path or a label are not drawn.

    Args:
        manifest: The manifest.
        max_drawn: The maximum number of rows to draw.
        seed: The random seed.
        excluded: How paths begin that are counted, but not drawn.

    Raises:
        ConfigError: A file can't be read.
        DataError: A label can't be a class name.
    """
    counts, num_rows, num_eligible = Counter[str](), 0, 0

    def read() -> Iterator[tuple[bytes, int, str, str]]:
        nonlocal num_rows, num_eligible
        for part in manifest.plan(_READ_ROWS):
            rows = manifest.read(part)
            for path, label in zip(rows.paths, rows.labels, strict=True):
                num_rows += 1
                if label is not None:
                    counts[label] += 1
                    if not path.startswith(excluded) and not manifest.find_fault(path):
                        num_eligible += 1
                        yield _rank(path, seed), num_rows, path, label

    drawn = sorted(heapq.nsmallest(max_drawn, read()), key=lambda row: row[1])
    return ManifestSurvey(
        num_rows=num_rows,
        num_eligible=num_eligible,
        class_counts=dict(counts),
        paths=[path for _, _, path, _ in drawn],
        labels=[label for *_, label in drawn],
    )


def _rank(path: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {path}".encode(), digest_size=8).digest()
