"""How good probabilities are, in figures: with intervals, class by class, and where they err."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import rich.console
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from tlkit._internal import arguments
from tlkit._internal.tables import build_table, render_text
from tlkit.errors import DataError
from tlkit.evaluation import bootstrap
from tlkit.evaluation.reliability import calibration_error

_TOP = (1, 3, 5)


@dataclass(frozen=True, kw_only=True)
class Confused:
    """Images of one class that were predicted as another.

    Attributes:
        true: What they are.
        called: What they were predicted as.
        count: How many.
        share: Of the images of the true class.
    """

    true: str
    called: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The figures of one class; what is undefined is 0 here, see `Evaluation.defined`.

    Attributes:
        name: The class.
        precision: Of the images predicted as this class, the share that are.
        recall: Of the images of this class, the share found.
        f1: The harmonic mean of both.
        support: How many images of this class were tested.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a classifier did on a test set; `print(evaluation)` shows it.

    Attributes:
        count: How many images were tested.
        accuracy: The share classified correctly, 0 to 1.
        accuracy_interval: The 95 % interval of the accuracy, by Wilson's method.
        loss: Mean cross-entropy, in nats.
        top_k: The share whose class is among the k likeliest, by k: 1, 3 and 5, fewer than classes.
        balanced_accuracy: The mean recall of the classes that were tested.
        macro_f1: The mean F1 of the classes that were tested or predicted.
        calibration_error: How far confidence is from accuracy on average, 0 to 1; see
            `tlkit.evaluation.reliability`.
        intervals: The 95 % intervals of loss, balanced_accuracy, macro_f1 and calibration_error,
            by 1,000 bootstrap resamples of the images (seeded); for the two means over classes,
            of the images within each class.
        classes: The figures of each class.
        confusion: How many images of each true class (row) were predicted as each (column).
        probabilities: `(count, classes)`, in the order of the test set.
        labels: The true class index of each image.
    """

    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    loss: float
    top_k: dict[int, float]
    balanced_accuracy: float
    macro_f1: float
    calibration_error: float
    intervals: dict[str, tuple[float, float]]
    classes: tuple[ClassScore, ...]
    confusion: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in order."""
        return tuple(score.name for score in self.classes)

    def confused(self, count: int = 10) -> tuple[Confused, ...]:
        """Return the pairs of classes that are confused most often, the most frequent first.

        Args:
            count: How many at most.

        Raises:
            ConfigError: `count` is below 1.
        """
        arguments.at_least("count", count, 1)
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        tested = self.confusion.sum(axis=1)
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = (np.unravel_index(at, wrong.shape) for at in order if wrong.flat[at])
        return tuple(
            Confused(
                true=self.class_names[row],
                called=self.class_names[column],
                count=int(wrong[row, column]),
                share=float(wrong[row, column] / tested[row]),
            )
            for row, column in pairs
        )

    def defined(
        self,
    ) -> Iterator[tuple[ClassScore, tuple[float | None, float | None, float | None]]]:
        """Yield each class's score with its precision, recall and F1; None for what is undefined.

        Precision is where nothing was predicted as the class, recall where no image of it was
        tested, F1 where neither was. The means leave such classes out.
        """
        for score, predicted in zip(self.classes, self.confusion.sum(axis=0), strict=True):
            yield (
                score,
                (
                    score.precision if predicted else None,
                    score.recall if score.support else None,
                    score.f1 if predicted or score.support else None,
                ),
            )

    def figures(self) -> dict[str, Any]:
        """Return all but the per-image arrays as plain values that JSON keeps."""
        return {
            "count": self.count,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "loss": self.loss,
            "top_k": {str(k): share for k, share in self.top_k.items()},
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "calibration_error": self.calibration_error,
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "classes": [asdict(score) for score in self.classes],
            "confusion": self.confusion.tolist(),
        }

    def summary(self) -> str:
        """Return the figures of all classes together, in two lines."""
        low, high = self.accuracy_interval
        more = [
            *(f"top-{k} {100 * share:.2f} %" for k, share in self.top_k.items() if k > 1),
            f"balanced accuracy {100 * self.balanced_accuracy:.2f} %",
            f"calibration error {100 * self.calibration_error:.2f} %",
        ]
        return (
            f"accuracy {100 * self.accuracy:.2f} % (95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f} %), loss {self.loss:.4f}, {self.count:,} images\n{', '.join(more)}"
        )

    def __rich__(self) -> rich.console.RenderableType:
        rows = [
            (
                score.name,
                *("-" if value is None else f"{value:.3f}" for value in values),
                f"{score.support:,}",
            )
            for score, values in self.defined()
        ]
        columns = ("class", "precision", "recall", "f1", "images")
        return rich.console.Group(self.summary(), build_table(columns, rows, align="lrrrr"))

    def __str__(self) -> str:
        return render_text(self)


def score(
    labels: np.ndarray, probabilities: np.ndarray, *, class_names: Sequence[str]
) -> Evaluation:
    """Compare probabilities with the truth.

    Args:
        labels: The true class index of each image, `(count,)`.
        probabilities: `(count, classes)`, each row adding up to 1.
        class_names: The name of each class.

    Raises:
        DataError: The shapes don't agree, a label is out of range, or a probability not finite.

    Examples:
        >>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> result = score(np.array([0, 1, 1]), sure, class_names=["cat", "dog"])
        >>> round(result.accuracy, 3), result.confusion.tolist()
        (0.667, [[1, 0], [1, 1]])
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    _check(labels, probabilities, len(class_names))
    indices = np.arange(len(class_names))
    called = probabilities.argmax(axis=1)
    right = int((called == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(0.95, method="wilson")
    per_class = precision_recall_fscore_support(labels, called, labels=indices, zero_division=0.0)
    rows = zip(class_names, *(figures.tolist() for figures in per_class), strict=True)
    fine = probabilities.astype("float64")  # float32 rows add up to 1 only within 1e-7
    fine = fine / fine.sum(axis=1, keepdims=True)
    counts = confusion_matrix(labels, called, labels=indices)
    tested, predicted = counts.sum(axis=1), counts.sum(axis=0)
    balanced, macro = bootstrap.means(np.diag(counts)[None], tested, predicted[None])
    return Evaluation(
        count=len(labels),
        accuracy=right / len(labels),
        accuracy_interval=(float(interval.low), float(interval.high)),
        loss=float(log_loss(labels, fine, labels=indices)),
        top_k=_top_k(labels, probabilities),
        balanced_accuracy=float(balanced[0]),
        macro_f1=float(macro[0]),
        calibration_error=calibration_error(probabilities, labels),
        intervals=bootstrap.intervals(labels, fine),
        classes=tuple(
            ClassScore(name=name, precision=precision, recall=recall, f1=f1, support=support)
            for name, precision, recall, f1, support in rows
        ),
        confusion=counts,
        probabilities=probabilities,
        labels=np.asarray(labels),
    )


def _check(labels: np.ndarray, probabilities: np.ndarray, classes: int) -> None:
    if probabilities.shape != (len(labels), classes) or len(labels) == 0:
        raise DataError(
            f"`probabilities` must have shape ({len(labels)}, {classes}), a row for each "
            f"of at least 1 image, got {probabilities.shape}."
        )
    if not np.isfinite(probabilities).all():
        raise DataError("`probabilities` must be finite, got NaN: the model has diverged.")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"`labels` must be from 0 to {classes - 1}, got {labels.min()} to {labels.max()}."
        )


def _top_k(labels: np.ndarray, probabilities: np.ndarray) -> dict[int, float]:
    classes = probabilities.shape[1]
    if classes == 2:  # scikit-learn takes one column of two classes
        return {1: float((probabilities.argmax(axis=1) == labels).mean())}
    return {
        k: float(top_k_accuracy_score(labels, probabilities, k=k, labels=np.arange(classes)))
        for k in _TOP
        if k < classes
    }
