"""Save in a run's folder the part of each image, such as training or test, and load it again."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tlkit._internal.text import join_first
from tlkit.data.digests import digest_pixels
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.listings import PARTS
from tlkit.data.splits import Split, find_duplicates
from tlkit.errors import ConfigError, DataError
from tlkit.experiments import export_records, run_files

NAME = "split.csv"


def format_split(split: Split) -> str:
    """Return a split of image files as CSV: each image's part, path and content hash."""
    parts: list[tuple[str, ImageDataset]] = [(name, getattr(split, name)) for name in PARTS]
    rows = (
        (name, path, digest)
        for name, part in parts
        for path, digest in zip(part.paths, list_digests(part), strict=True)
    )
    return format_rows(rows, with_labels=False)


def format_rows(rows: Iterable[tuple[str, ...]], *, with_labels: bool) -> str:
    """Return the rows of a `split.csv` as text: part, path and digest of each image.

    Args:
        rows: The rows.
        with_labels: Whether rows end with the class name, as those of a run on a cluster do.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("part", "path", "digest", "label")[: None if with_labels else -1])
    writer.writerows(rows)
    return text.getvalue()


def list_digests(dataset: ImageDataset) -> list[str]:
    """Return a digest of each image: of its file's content, or of its pixels in an array."""
    if isinstance(dataset.images, np.ndarray):
        return [f"{high:016x}{low:016x}" for high, low in digest_pixels(dataset.images).tolist()]
    return [scan.digest for scan in dataset.scans]


def find(model: str | Path) -> Path | None:
    """Return the file with the split that a classifier was trained on; None if it has none.

    Args:
        model: A run's folder, its classifier, or a file in its folder of exports.
    """
    path = Path(model)
    if path.parent.name == export_records.FOLDER:
        run = path.parent.parent
    else:
        run = path if path.is_dir() else path.parent
    return run / NAME if (run / NAME).is_file() else None


def list_part(model: str | Path, part: str) -> set[str] | None:
    """Return the digests of the images of one part; None if the split is unknown.

    Args:
        model: As for `find`.
        part: "train", "validation" or "test"; images in folds count as training images.
    """
    file = find(model)
    if file is None:
        return None
    rows = run_files.read_csv(file, "part", "path", "digest")
    return {
        row["digest"]
        for row in rows
        if row["part"] == part or (part == "train" and _is_fold(row["part"]))
    }


def count_trained(model: str | Path, dataset: ImageDataset) -> int:
    """Return how many images a classifier was trained on, by their content; 0 if unknown.

    Args:
        model: As for `find`.
        dataset: The images, in any folder.
    """
    trained = list_part(model, "train")
    return sum(digest in trained for digest in list_digests(dataset)) if trained else 0


def _is_fold(part: str) -> bool:
    """Return whether a part is a fold; the classifier of a run with folds is trained on all."""
    return part.startswith("fold ")


def load_split(dataset: ImageDataset, file: Path) -> tuple[ImageDataset, Split]:
    """Return the images of a run, and their split.

    Args:
        dataset: The images as they are now; those that the run did not have are ignored.
        file: A file with the text from `format_split`.

    Raises:
        ConfigError: There is no such file.
        DataError: An image is missing or has changed.
    """
    rows = match_rows(dataset, file)
    indices = {name: [index for part, index in rows if part == name] for name in PARTS}
    used = dataset.take(sorted(index for part in indices.values() for index in part))
    train, validation, test = (
        dataset.take(np.asarray(indices[name], dtype="int64")) for name in PARTS
    )
    is_array = isinstance(used.images, np.ndarray)  # duplicates of arrays were not searched
    pairs = () if is_array else tuple(find_duplicates(used))
    own_parts = tuple(name for name in PARTS if name in used.parts)
    return used, Split(
        train=train, validation=validation, test=test, duplicates=pairs, own_parts=own_parts
    )


def match_rows(dataset: ImageDataset, file: Path) -> list[tuple[str, int]]:
    """Return the part and the index of each image that a run's `split.csv` names.

    Raises:
        ConfigError: There is no such file.
        DataError: An image is missing or has changed.
    """
    if not file.is_file():
        raise ConfigError(f"`folder` must hold {file.name}: which images the run was tested on.")
    rows = run_files.read_csv(file, "part", "path", "digest")
    known = {
        (path, digest): index
        for index, (path, digest) in enumerate(
            zip(dataset.paths, list_digests(dataset), strict=True)
        )
    }
    changed = [row["path"] for row in rows if (row["path"], row["digest"]) not in known]
    if changed:
        raise DataError(
            f"The run's images must not have changed, got {len(changed):,} of {len(rows):,} "
            f"missing or changed: {join_first(changed, limit=3)}."
        )
    return [(row["part"], known[row["path"], row["digest"]]) for row in rows]
