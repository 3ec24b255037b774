"""The images of one worker, by the features that the tail of a classifier reads."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tlkit._internal import disk_arrays
from tlkit.data.listings import PARTS
from tlkit.distributed.drawn_split import DrawnSplit, require_contents
from tlkit.distributed.feature_set import read_file
from tlkit.distributed.lanes import Lanes
from tlkit.distributed.storage import Location
from tlkit.distributed.tail import Frozen
from tlkit.distributed.tail_steps import Batch
from tlkit.errors import DataError
from tlkit.training.phase import Phase

_Images = tuple[np.ndarray, np.ndarray]  # features and labels


@dataclass(frozen=True, kw_only=True, eq=False)
class TailJob:
    """The settings that all workers share.

    Attributes:
        model: The classifier's file.
        states: The folder of the states.
        files: The files of features, in the order of the manifest.
        counts: The number of images in each file, by part.
        split: The rule that draws the part of each image.
        names: The names of the classes.
        frozen: The layers that are frozen.
        image: The shape of an image, which determines the shapes of the features.
        image_dtype: The dtype of an image.
        num_features: The number of features per image.
        dtype: The dtype of the features.
        phase: The phase; `frozen` stands for its `freeze`.
        class_weight: The weight of each class, `(classes,)`.
        seed: The seed of the order of images, and of random layers.
    """

    model: Location
    states: Location
    files: tuple[Location, ...]
    counts: Mapping[str, np.ndarray]
    split: DrawnSplit
    names: tuple[str, ...]
    frozen: Frozen
    image: tuple[int, ...]
    image_dtype: str
    num_features: int
    dtype: str
    phase: Phase
    class_weight: np.ndarray
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TailRows:
    """The images of one worker.

    Attributes:
        lanes: The images of each step.
        features: The features of each image, `(count, size)`; at least one row.
        labels: The class index of each image, `(count,)`.
        shapes: The shapes into which the features of an image are divided.
    """

    lanes: Lanes
    features: np.ndarray
    labels: np.ndarray
    shapes: tuple[tuple[int, ...], ...]

    def batches(self, seed: tuple[int, int] | None) -> Iterator[Batch]:
        """Yield this worker's images of each step, in the order of `Lanes.take`."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        for rows, mask in zip(*self.lanes.take(seed), strict=True):
            parts = np.split(self.features[rows].astype("float32"), ends, axis=1)
            shaped = zip(parts, self.shapes, strict=True)
            features = [part.reshape(len(rows), *shape) for part, shape in shaped]
            yield features, self.labels[rows], mask


def read(
    job: TailJob,
    lanes: Mapping[str, Lanes],
    *,
    shapes: tuple[tuple[int, ...], ...],
    max_part_bytes: int,
) -> dict[str, TailRows]:
    """Read the images of one worker by part; each file is read once.

    Args:
        job: The settings.
        lanes: The worker's lanes by part.
        shapes: The shapes of the tensors that cross the cut.
        max_part_bytes: The bytes of a part's features to hold in memory; more are held in a
            temporary file.

    Raises:
        DataError: A file is missing, has changed, or has labels that the classifier lacks.
        StoreError: The disk has too little free space.
    """
    found = {
        part: _create(job, each, shapes=shapes, max_bytes=max_part_bytes)
        for part, each in lanes.items()
    }
    ends = {part: np.cumsum(job.counts[part]) for part in lanes}
    for number, file in enumerate(job.files):
        sizes = {part: int(job.counts[part][number]) for part in lanes}
        starts = {part: int(ends[part][number]) - sizes[part] for part in lanes}
        wanted = {
            part: sizes[part]
            for part, each in lanes.items()
            if max(each.rows[0], starts[part]) < min(each.rows[1], starts[part] + sizes[part])
        }
        if wanted:
            for part, images in _read_file(job, file, wanted).items():
                _copy(images, found[part], starts[part])
    return found


def _create(
    job: TailJob, lanes: Lanes, *, shapes: tuple[tuple[int, ...], ...], max_bytes: int
) -> TailRows:
    first, stop = lanes.rows
    count = max(stop - first, 1)  # a worker without images fills batches with an empty one
    features = disk_arrays.create((count, job.num_features), max_bytes=max_bytes, dtype=job.dtype)
    if stop == first:
        features[:] = 0
    return TailRows(lanes=lanes, features=features, labels=np.zeros(count, "int64"), shapes=shapes)


def _read_file(job: TailJob, file: Location, sizes: Mapping[str, int]) -> dict[str, _Images]:
    """Return features and labels in a file by part.

    Args:
        job: The settings.
        file: The file.
        sizes: By part, the number of images that must be in the file.
    """
    features, images = read_file(file)
    drawn = job.split.divide(require_contents(images, str(file)), images.paths)
    numbers = {name: number for number, name in enumerate(job.names)}
    found = {}
    for part, size in sizes.items():
        chosen = np.flatnonzero(drawn == PARTS.index(part))
        if len(chosen) != size or features.shape[1] != job.num_features:
            raise DataError(f"'{file}' has changed since the training started. Start it again.")
        labels = [numbers[str(images.labels[row])] for row in chosen]
        found[part] = features[chosen], np.array(labels, "int64")
    return found


def _copy(images: _Images, rows: TailRows, start: int) -> None:
    """Copy the images of a file that belong to a worker.

    Args:
        images: The images of a part in the file.
        rows: The images of the worker.
        start: The number of the file's first image among all images of the part.
    """
    features, labels = images
    first, stop = rows.lanes.rows
    low, high = max(first, start), min(stop, start + len(labels))
    rows.features[low - first : high - first] = features[low - start : high - start]
    rows.labels[low - first : high - first] = labels[low - start : high - start]
