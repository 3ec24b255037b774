"""How good probabilities are, in figures: with intervals, class by class, and where they err."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from tlkit import _checks
from tlkit.errors import DataError
from tlkit.reliability import calibration_error

_TOP = (1, 3, 5)
_RESAMPLES = 1000
_AT_ONCE = 50  # resamples; bounds the memory


@dataclass(frozen=True, kw_only=True)
class Confused:
    """Images of one class that were called another.

    Attributes:
        true: What they are.
        called: What they were called.
        count: How many.
        share: Of the images of the true class.
    """

    true: str
    called: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The figures of one class.

    Attributes:
        name: The class.
        precision: Of the images called this class, the share that are.
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
        accuracy: The share classified rightly, 0 to 1.
        accuracy_interval: The 95 % interval of the accuracy, by Wilson's method.
        loss: Mean cross-entropy, in nats.
        top_k: The share whose class is among the k likeliest, by k: 1, 3 and 5, fewer than classes.
        balanced_accuracy: The mean recall of the classes that were tested.
        macro_f1: The mean F1 of the classes that were tested or called.
        calibration_error: How far confidence is from accuracy on average, 0 to 1; see
            `tlkit.reliability`.
        intervals: The 95 % intervals of loss, balanced_accuracy, macro_f1 and calibration_error,
            by 1,000 bootstrap resamples of the images (seeded).
        classes: The figures of each class.
        confusion: How many images of each true class (row) were called each class (column).
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
        _checks.at_least("count", count, 1)
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

    def __str__(self) -> str:
        low, high = self.accuracy_interval
        width = max(5, *(len(name) for name in self.class_names))
        lines = [
            f"accuracy {100 * self.accuracy:.2f} % (95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f} %), loss {self.loss:.4f}, {self.count:,} images",
            ", ".join(
                [
                    *(f"top-{k} {100 * share:.2f} %" for k, share in self.top_k.items() if k > 1),
                    f"balanced accuracy {100 * self.balanced_accuracy:.2f} %",
                    f"calibration error {100 * self.calibration_error:.2f} %",
                ]
            ),
            f"{'class':<{width}}  precision  recall     f1  images",
        ]
        lines += [
            f"{score.name:<{width}}  {score.precision:9.3f}  {score.recall:6.3f}  "
            f"{score.f1:5.3f}  {score.support:6,}"
            for score in self.classes
        ]
        return "\n".join(lines)


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
    if probabilities.shape != (len(labels), len(class_names)) or len(labels) == 0:
        raise DataError(
            f"`probabilities` must have shape ({len(labels)}, {len(class_names)}), a row for each "
            f"of at least 1 image, got {probabilities.shape}."
        )
    if not np.isfinite(probabilities).all():
        raise DataError("`probabilities` must be finite, got NaN: the model has diverged.")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise DataError(
            f"`labels` must be from 0 to {len(class_names) - 1}, "
            f"got {labels.min()} to {labels.max()}."
        )
    indices = np.arange(len(class_names))
    called = probabilities.argmax(axis=1)
    right = int((called == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(0.95, method="wilson")
    per_class = precision_recall_fscore_support(labels, called, labels=indices, zero_division=0.0)
    rows = zip(class_names, *(figures.tolist() for figures in per_class), strict=True)
    fine = probabilities.astype("float64")  # float32 rows add up to 1 only within 1e-7
    fine = fine / fine.sum(axis=1, keepdims=True)
    counts = confusion_matrix(labels, called, labels=indices)
    balanced, macro = _of_counts(counts[None])
    return Evaluation(
        count=len(labels),
        accuracy=right / len(labels),
        accuracy_interval=(float(interval.low), float(interval.high)),
        loss=float(log_loss(labels, fine, labels=indices)),
        top_k=_top_k(labels, probabilities),
        balanced_accuracy=float(balanced[0]),
        macro_f1=float(macro[0]),
        calibration_error=calibration_error(probabilities, labels),
        intervals=_intervals(labels, fine),
        classes=tuple(
            ClassScore(name=name, precision=precision, recall=recall, f1=f1, support=support)
            for name, precision, recall, f1, support in rows
        ),
        confusion=counts,
        probabilities=probabilities,
        labels=np.asarray(labels),
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


def _of_counts(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced accuracy and macro F1 of confusion matrices `(number, true, called)`."""
    hit = np.diagonal(counts, axis1=1, axis2=2).astype("float64")
    tested, called = counts.sum(axis=2), counts.sum(axis=1)
    recall = hit / np.maximum(tested, 1)
    f1 = 2 * hit / np.maximum(tested + called, 1)
    there = tested + called > 0
    return (
        recall.sum(axis=1) / np.maximum((tested > 0).sum(axis=1), 1),
        f1.sum(axis=1) / np.maximum(there.sum(axis=1), 1),
    )


def _intervals(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return percentile intervals over resamples of the images, a few of them at a time."""
    count, classes = probabilities.shape
    called = probabilities.argmax(axis=1)
    losses = -np.log(np.maximum(probabilities[np.arange(count), labels], np.finfo("float64").eps))
    random = np.random.default_rng(0)
    found: dict[str, list[np.ndarray]] = {
        name: [] for name in ("loss", "balanced_accuracy", "macro_f1", "calibration_error")
    }
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = random.integers(0, count, (_AT_ONCE, count))
        cells = labels[drawn] * classes + called[drawn]
        cells += classes * classes * np.arange(_AT_ONCE)[:, None]
        counts = np.bincount(cells.ravel(), minlength=_AT_ONCE * classes * classes)
        balanced, macro = _of_counts(counts.reshape(_AT_ONCE, classes, classes))
        found["loss"].append(losses[drawn].mean(axis=1))
        found["balanced_accuracy"].append(balanced)
        found["macro_f1"].append(macro)
        found["calibration_error"].append(
            np.array([calibration_error(probabilities[row], labels[row]) for row in drawn])
        )
    return {
        name: tuple(np.percentile(np.concatenate(values), [2.5, 97.5]).tolist())
        for name, values in found.items()
    }
