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
        for rows, counted in zip(*self.lanes.take(seed), strict=True):
            parts = np.split(self.features[rows].astype("float32"), ends, axis=1)
            shaped = zip(parts, self.shapes, strict=True)
            features = [part.reshape(len(rows), *shape) for part, shape in shaped]
            yield features, self.labels[rows], counted


def read(
    job: TailJob,
    part: str,
    lanes: Lanes,
    *,
    shapes: tuple[tuple[int, ...], ...],
    max_bytes: int,
) -> TailRows:
    """Read the images of one worker.

    Args:
        job: The settings.
        part: The part of the images.
        lanes: The worker's lanes among the images of this part.
        shapes: The shapes of the tensors that cross the cut.
        max_bytes: The bytes of features to hold in memory; more are held in a temporary file.

    Raises:
        DataError: A file is missing, has changed, or has labels that the classifier lacks.
        StoreError: The disk has too little free space.
    """
    first, stop = lanes.rows
    count = max(stop - first, 1)  # a worker without images fills batches with an empty one
    features = disk_arrays.create((count, job.num_features), max_bytes=max_bytes, dtype=job.dtype)
    labels = np.zeros(count, "int64")
    if stop == first:
        features[:] = 0
    ends = np.cumsum(job.counts[part])
    for file, end, size in zip(job.files, ends, job.counts[part], strict=True):
        start = end - size  # of this file, among all images of the part
        low, high = max(first, start), min(stop, end)
        if low < high:
            found, classes = _read_file(job, part, file, int(size))
            features[low - first : high - first] = found[low - start : high - start]
            labels[low - first : high - first] = classes[low - start : high - start]
    return TailRows(lanes=lanes, features=features, labels=labels, shapes=shapes)


def _read_file(
    job: TailJob, part: str, file: Location, count: int
) -> tuple[np.ndarray, np.ndarray]:
    features, images = read_file(file)
    drawn = job.split.divide(require_contents(images, str(file)), images.paths)
    chosen = np.flatnonzero(drawn == PARTS.index(part))
    if len(chosen) != count or features.shape[1] != job.num_features:
        raise DataError(f"'{file}' has changed since the training started. Start it again.")
    numbers = {name: number for number, name in enumerate(job.names)}
    labels = [numbers[str(images.labels[row])] for row in chosen]
    return features[chosen], np.array(labels, "int64")
