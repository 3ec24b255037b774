"""The accuracy of a classifier on the images that it had before, and on images that were added."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import rich.console
from scipy.stats import binomtest

from tlkit._internal.html import render_html
from tlkit._internal.tables import build_table, render_text
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.evaluation.metrics import Evaluation


@dataclass(frozen=True, kw_only=True)
class Addition:
    """The accuracy on some of the test images.

    Attributes:
        images: The kind of images: old images, new images of old classes, or images of new classes.
        num_training: The number of such images in the training set.
        num_test: The number of such images in the test set.
        before: The accuracy of a classifier that was trained without new images, on the same test
            images; None if no such classifier was trained.
        accuracy: The accuracy, 0 to 1.
        interval: Its 95 % interval, by Wilson's method.
    """

    images: str
    num_training: int
    num_test: int
    before: float | None
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Additions:
    """The accuracies on old and new images; `print` shows a table.

    Attributes:
        rows: One row for each kind of images that the test set has.
    """

    rows: tuple[Addition, ...]

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the rows as values that JSON can hold."""
        return [{**asdict(row), "interval": list(row.interval)} for row in self.rows]

    def __rich__(self) -> rich.console.RenderableType:
        columns = ("test images", "training", "test", "before", "accuracy", "95 % interval")
        return build_table(columns, map(_to_cells, self.rows), align="lrrrrr", bars=("accuracy",))

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


def measure(
    split: Split, evaluation: Evaluation, evaluate_before: Callable[[Split], Evaluation] | None
) -> Additions:
    """Measure a classifier on old and new images.

    Args:
        split: The images; `added` marks new images.
        evaluation: The evaluation of the classifier on the test images.
        evaluate_before: A function that trains and evaluates a classifier on a split of the old
            images; None if this would take too long.
    """
    train, test = (np.asarray(part.added, bool) for part in (split.train, split.test))
    old_classes = np.unique(split.train.labels[~train])
    correct = evaluation.probabilities.argmax(axis=1) == split.test.labels
    before = np.full(len(test), np.nan)
    if evaluate_before is not None and (~test).any():
        found = evaluate_before(_take_old(split, old_classes))
        known = np.isin(split.test.labels, old_classes) & ~test
        before[known] = found.probabilities.argmax(axis=1) == found.labels
    rows = []
    for kind in ("old images", "new images of old classes", "images of new classes"):
        tested = _select(kind, split.test, old_classes)
        if tested.any():
            count, total = int(correct[tested].sum()), int(tested.sum())
            ends = binomtest(count, total).proportion_ci(0.95, method="wilson")
            first = float(before[tested].mean())
            rows.append(
                Addition(
                    images=kind,
                    num_training=int(_select(kind, split.train, old_classes).sum()),
                    num_test=total,
                    before=None if np.isnan(first) else first,
                    accuracy=count / total,
                    interval=(float(ends.low), float(ends.high)),
                )
            )
    return Additions(rows=tuple(rows))


def _select(kind: str, part: ImageDataset, old_classes: np.ndarray) -> np.ndarray:
    """Return whether each image of a part is of this kind, `(count,)`."""
    added = np.asarray(part.added, bool)
    if kind == "old images":
        return ~added
    known = np.isin(part.labels, old_classes)
    return added & (known if kind == "new images of old classes" else ~known)


def _take_old(split: Split, classes: np.ndarray) -> Split:
    """Return the old images of a split, of those classes that have old training images."""

    def take(part: ImageDataset) -> ImageDataset:
        old = part.take(~np.asarray(part.added, bool) & np.isin(part.labels, classes))
        names = tuple(part.class_names[index] for index in classes)
        labels = np.searchsorted(classes, old.labels)
        return replace(old, labels=labels, class_names=names, notices=())

    return replace(
        split,
        train=take(split.train),
        test=take(split.test),
        validation=split.validation.take(slice(0)),
    )


def _to_cells(row: Addition) -> list[str]:
    low, high = row.interval
    return [
        row.images,
        f"{row.num_training:,}",
        f"{row.num_test:,}",
        "" if row.before is None else f"{100 * row.before:.1f} %",
        f"{100 * row.accuracy:.1f} %",
        f"{100 * low:.1f} to {100 * high:.1f} %",
    ]
