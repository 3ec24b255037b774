"""Files of features in the processes of a cluster, and sums over all of them."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from scipy.special import softmax

from tlkit.data.listings import PARTS
from tlkit.distributed.drawn_split import DrawnSplit, require_contents
from tlkit.distributed.feature_set import read_file
from tlkit.distributed.storage import Location
from tlkit.errors import DataError
from tlkit.evaluation.summed_metrics import Totals
from tlkit.training import logistic_regression
from tlkit.training.linear import Linear, Moments, blocks
from tlkit.training.logistic_regression import Sums

Rows = tuple[np.ndarray, np.ndarray]
"""Features in float32, and class indices."""


class Shard:
    """Some files of features, held in memory as far as they fit.

    Every method can be called again: a process that is restarted reads its files again.

    Args:
        files: The files.
        class_names: The name of each class.
        max_bytes: How many bytes of features to hold in memory.
        split: Draws the part of each image; methods use the training images, unless they have an
            argument `part`, and only training images are held in memory. None uses all images.
    """

    def __init__(
        self,
        files: Sequence[Location],
        class_names: Sequence[str],
        max_bytes: int,
        split: DrawnSplit | None = None,
    ) -> None:
        self._files, self._room, self._split = tuple(files), max_bytes, split
        self._numbers = {name: number for number, name in enumerate(class_names)}
        self._kept: dict[int, Rows] = {}

    def count(self) -> list[int]:
        """Return how many images each file has."""
        return [len(self._read(number)[1]) for number in range(len(self._files))]

    def take(self, wanted: dict[int, np.ndarray], part: str = PARTS[0]) -> dict[int, Rows]:
        """Return rows of files, by the number of the file.

        Args:
            wanted: The indices of the rows, by the number of the file.
            part: The part of the images that the indices count.
        """
        found = {}
        for number, rows in wanted.items():
            features, labels = self._read(number, part)
            found[number] = (features[rows].astype("float32"), labels[rows])
        return found

    # In float32, products of features whose means are far above their deviations lose the digits
    # that make up a covariance, and other ones with each order of the images.
    def sum_moments(self) -> list[np.ndarray]:
        """Return the sums over all images as the arrays of `Moments`, computed in float64."""
        size = self._read(0)[0].shape[1]
        total = Moments(size, len(self._numbers))
        for features, labels in self._blocks():
            total.add(features.astype("float64"), labels)
        return total.arrays()

    def sum_features(self) -> np.ndarray:
        """Return the sum of each feature."""
        return self._add_up(lambda x, _: x.sum(axis=0, dtype="float64"))

    def sum_squares(self, mean: np.ndarray) -> np.ndarray:
        """Return the sum of the squared differences of each feature from its mean."""
        return self._add_up(lambda x, _: ((x - mean) ** 2).sum(axis=0))

    def measure_errors(
        self, kernel: np.ndarray, bias: np.ndarray, shift: np.ndarray, scale: np.ndarray
    ) -> Sums:
        """Return the gradients and the loss, summed over all images in float64.

        The arguments are those of `logistic_regression.measure_errors`, and shift and scale, by
        which features are standardized.
        """
        total: list[Any] = [np.zeros(kernel.shape), 0.0, 0.0]
        for x, labels in self._blocks():
            standard = (x - shift) / scale
            found = logistic_regression.measure_errors((standard, labels, None), kernel, bias)
            total = [before + more for before, more in zip(total, found, strict=True)]
        return total[0], total[1], total[2]

    def measure(self, linear: Linear) -> np.ndarray:
        """Return the summed loss of a classifier, and the number of correctly classified images."""
        return self._add_up(
            lambda x, labels: np.array(
                [
                    linear.loss(x, labels) * len(labels),
                    linear.accuracy(x, labels) * len(labels),
                ]
            )
        )

    def evaluate(self, linear: Linear, temperature: float, part: str) -> Totals:
        """Return what the metrics of a classifier are computed from, summed over a part's images.

        Args:
            linear: The classifier.
            temperature: The divisor of its logits.
            part: The part of the images.
        """
        total = Totals.empty(len(self._numbers))
        for features, labels in self._blocks(part):
            total.add(labels, softmax(linear.logits(features) / temperature, axis=1))
        return total

    def _add_up(self, measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        return np.asarray(sum(measure(x, labels) for x, labels in self._blocks()))

    def _blocks(self, part: str = PARTS[0]) -> Any:
        """Yield features in float32 and class indices, a block of images at a time."""
        for number in range(len(self._files)):
            features, labels = self._read(number, part)
            for block in blocks(len(labels)):
                yield features[block].astype("float32"), labels[block]

    def _read(self, number: int, part: str = PARTS[0]) -> Rows:
        if part == PARTS[0] and number in self._kept:
            return self._kept[number]
        features, images = read_file(self._files[number])
        unknown = {str(name) for name in images.labels if name not in self._numbers}
        if unknown:
            raise DataError(
                f"'{self._files[number]}' must have labels that the classifier knows, "
                f"{list(self._numbers)}, got {sorted(unknown)[:10]}."
            )
        labels = np.array([self._numbers[str(name)] for name in images.labels], "int64")
        if self._split is not None:
            contents = require_contents(images, str(self._files[number]))
            drawn = self._split.divide(contents, images.paths)
            chosen = drawn == PARTS.index(part)
            features, labels = features[chosen], labels[chosen]
        if part == PARTS[0]:
            self._room -= features.nbytes
            if self._room >= 0:
                self._kept[number] = features, labels
        return features, labels


CallAll = Callable[..., list[Any]]
"""Calls a method of every shard with the same arguments, and returns all results."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shards:
    """All shards, with sums over them and access to their rows.

    Attributes:
        call_all: Calls a method of each shard.
        files: The numbers of the files of each shard, in the order of the manifest.
        stop: Ends the shards, so that other work can use their cores and memory.
    """

    call_all: CallAll
    files: tuple[tuple[int, ...], ...]
    stop: Callable[[], None] = lambda: None

    @cached_property
    def counts(self) -> np.ndarray:
        """The number of images in each file, in the order of the manifest."""
        counts = np.zeros(sum(map(len, self.files)), "int64")
        for numbers, found in zip(self.files, self.call_all("count"), strict=True):
            counts[list(numbers)] = found
        return counts

    def take(self, rows: np.ndarray, *, part: str = PARTS[0], counts: Any = None) -> Rows:
        """Return images by their indices.

        Args:
            rows: The indices among all images of the manifest, or with a split, of a part.
            part: The part.
            counts: The number of its images in each file; needed for other parts than training.
        """
        counts = self.counts if counts is None else counts
        starts = np.cumsum(counts) - counts
        at = np.searchsorted(starts, rows, side="right") - 1
        wanted = {int(file): rows[at == file] - starts[file] for file in np.unique(at)}
        per_shard = [
            {own: wanted[file] for own, file in enumerate(numbers) if file in wanted}
            for numbers in self.files
        ]
        found: dict[int, Rows] = {}
        shares = self.call_all("take", part, each=per_shard)
        for numbers, own in zip(self.files, shares, strict=True):
            found |= {numbers[number]: taken for number, taken in own.items()}
        size = next(iter(found.values()))[0].shape[1]
        features, labels = np.empty((len(rows), size), "float32"), np.empty(len(rows), "int64")
        for file, (some, classes) in found.items():
            features[at == file], labels[at == file] = some, classes
        return features, labels

    def add_up(self, method: str, *arguments: Any) -> Any:
        """Return the sum of the results of a method over all shards."""
        return reduce(operator.add, self.call_all(method, *arguments))
