"""Which image was trained on and which tested, as a file of a run."""

import csv
import io
from pathlib import Path

import numpy as np

from tlkit._internal.text import join_first
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split, look_alikes
from tlkit.errors import ConfigError, DataError

NAME = "split.csv"
PARTS = ("train", "validation", "test")


def written(parts: Split) -> str:
    """Return which image went where, as CSV: each by its path and a hash of its content.

    Args:
        parts: The parts, of images that are files.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("part", "path", "digest"))
    for name in PARTS:
        part: ImageDataset = getattr(parts, name)
        for path, scanned in zip(part.paths, part.scanned, strict=True):
            writer.writerow((name, path, scanned.digest))
    return text.getvalue()


def read(source: ImageDataset, file: Path) -> tuple[ImageDataset, Split]:
    """Return the images that a run was made of, and their parts.

    Args:
        source: The images that are there now; those that are new are left aside.
        file: What `written` returned, as a file.

    Raises:
        ConfigError: There is no such file.
        DataError: An image is gone, or not what it was.
    """
    if not file.is_file():
        raise ConfigError(f"`folder` must hold {file.name}: which images are tested on.")
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    there = {
        (path, scanned.digest): place
        for place, (path, scanned) in enumerate(zip(source.paths, source.scanned, strict=True))
    }
    gone = [row["path"] for row in rows if (row["path"], row["digest"]) not in there]
    if gone:
        raise DataError(
            f"The run's images must be as they were, got {len(gone):,} of {len(rows):,} that are "
            f"gone or changed: {join_first(gone, limit=3)}."
        )
    places = {
        name: [there[row["path"], row["digest"]] for row in rows if row["part"] == name]
        for name in PARTS
    }
    every = sorted(place for each in places.values() for place in each)
    kept = source.take(every)
    made = {name: source.take(np.asarray(each, dtype="int64")) for name, each in places.items()}
    return kept, Split(pairs=tuple(look_alikes(kept)), **made)
