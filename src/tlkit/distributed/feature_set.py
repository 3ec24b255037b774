"""The features of images in a folder of Parquet files, and how they were extracted."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import byte_size, duration, join_first
from tlkit.data import naming
from tlkit.data.image_dataset import Problem
from tlkit.distributed import feature_files
from tlkit.distributed.feature_files import Described
from tlkit.distributed.storage import Location, explain, locate
from tlkit.errors import Argument, ConfigError, DataError

Content = TypeVar("Content")

RECORD = "_features.json"  # readers of Parquet folders ignore names that begin with _


@dataclass(frozen=True, kw_only=True)
class WorkerUse:
    """The work of one worker.

    Attributes:
        name: The name of its machine and the number of its process.
        images: How many images of its parts have features.
        seconds: How long it worked.
        cpu_seconds: How long its cores worked, summed over cores.
        peak_bytes: The largest memory in bytes that it held after a part.
    """

    name: str
    images: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """The features of the images of a manifest, in Parquet files.

    Each file has the columns `path`, `label`, `digest` (of the image and how it is decoded),
    `content` (a digest of the file as it is), `size` and `modified` (of the image's file),
    `features` and `problem`.

    Attributes:
        folder: The folder of the files.
        files: The names of the files, in the order of the manifest.
        num_images: How many images have features.
        num_computed: How many of these features were computed; the others were stored already.
        num_features: The number of features per image.
        dtype: The dtype of the features.
        engine: The engine that ran the frozen part, with its version.
        class_counts: The number of images of each class.
        problems: The image files that could not be read, in the order of the manifest.
        read_bytes: How many bytes of image files were read.
        seconds: How long the extraction took.
        workers: The work of each worker.
    """

    folder: str
    files: tuple[str, ...]
    num_images: int
    num_computed: int
    num_features: int
    dtype: str
    engine: str
    class_counts: dict[str, int]
    problems: tuple[Problem, ...]
    read_bytes: int
    seconds: float
    workers: tuple[WorkerUse, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in order."""
        return naming.sort(self.class_counts)

    @property
    def locations(self) -> list[Location]:
        """The locations of the files."""
        return [Location(self.folder).join(name) for name in self.files]

    def read(self) -> Iterator[tuple[np.ndarray, list[str | None]]]:
        """Yield the features `(count, size)` and the labels of the readable images of each file.

        Raises:
            DataError: A file is missing or damaged.
        """
        for file in self.locations:
            features, images = read_file(file)
            yield features, images.labels

    def __str__(self) -> str:
        rate = self.num_computed / max(self.seconds, 1e-9)
        lines = [
            f"{self.folder}: features of {self.num_images:,} images, {self.num_features:,} "
            f"{self.dtype} numbers each",
            f"ran {self.num_computed:,} images by {self.engine} in {duration(self.seconds)} "
            f"({rate:,.0f} images/s), read {byte_size(self.read_bytes)}",
        ]
        if self.workers:
            most = max(worker.peak_bytes for worker in self.workers)
            lines.append(
                f"{len(self.workers)} worker{'s' * (len(self.workers) > 1)}, at most "
                f"{byte_size(most)} of memory each"
            )
        if self.problems:
            shown = join_first(self.problems, limit=10, separator="; ")
            lines.append(f"{len(self.problems):,} left out: {shown}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as values that JSON can hold."""
        return {
            **vars(self),
            "files": list(self.files),
            "problems": [vars(each) for each in self.problems],
            "workers": [vars(each) for each in self.workers],
        }


def read_file(file: Location) -> tuple[np.ndarray, Described]:
    """Return features and description of the readable images of a file.

    Raises:
        DataError: The file is missing or damaged.
    """
    return _read(feature_files.read_training, file)


def describe_file(file: Location) -> Described:
    """Return the readable images of a file, without their features.

    Raises:
        DataError: The file is missing or damaged.
    """
    return _read(feature_files.describe, file)


def _read(read: Callable[[Location], Content | None], file: Location) -> Content:
    try:
        found = read(file)
        reason = "it is missing or damaged"
    except OSError as error:
        found, reason = None, explain(error)
    if found is None:
        raise DataError(
            f"'{file}' can't be read: {reason}. Extract the features again: only those that are "
            "missing are run."
        )
    return found


@check_arguments
def open_features(folder: str | Path) -> FeatureSet:
    """Return the features that the last `extract` wrote to a folder.

    Args:
        folder: The folder: a path, or an address such as s3://bucket/features.

    Raises:
        ConfigError: There are no features in it, or it can't be read.
    """
    place = locate("folder", folder)
    try:
        found = json.loads(place.join(RECORD).read())
        return FeatureSet(
            **{
                **found,
                "folder": place.text,
                "files": tuple(found["files"]),
                "problems": tuple(Problem(**each) for each in found["problems"]),
                "workers": tuple(WorkerUse(**each) for each in found["workers"]),
            }
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            Argument("folder"),
            f" must be a folder that `tlkit extract` has finished, got {str(place)!r}: "
            f"{explain(error)}.",
        ) from error


def save(features: FeatureSet) -> None:
    """Write a record to the folder, which lists the files that belong together.

    Raises:
        StoreError: It can't be written.
    """
    Location(features.folder).join(RECORD).write(feature_files.encode(features.to_dict()))
