"""The metrics of a classifier on a test set: overall, with intervals, and for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import rich.console

from tlkit._internal import arguments, arrays, html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import build_table, render_text
from tlkit.errors import DataError
from tlkit.evaluation import multi_label, single_label
from tlkit.evaluation.class_metrics import ClassMetrics, ConfusedPair, to_pair

_MAX_ROWS = 30  # classes in a printed table
_MAX_IN_NOTEBOOK = 20  # classes in a confusion matrix in a notebook
_NUMBERS = ("accuracy", "loss", "balanced_accuracy", "macro_f1", "calibration_error")
_OF_MULTI_LABEL = ("mean_average_precision", "mean_auc", "micro_f1", "hamming_loss")


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The metrics of a classifier on a test set; `print(evaluation)` shows a table.

    Metrics are defined as in scikit-learn. For multi-label, where an image can have several classes
    or none, means over classes leave out classes for which the metric is undefined.

    Attributes:
        count: How many images were tested.
        accuracy: The share of images classified correctly, 0 to 1; for multi-label, of images with
            every class correct (subset accuracy).
        accuracy_interval: The 95 % interval of the accuracy, by Wilson's method.
        loss: Mean cross-entropy over images, in nats; for multi-label, over all classes of all
            images.
        top_k: The share of images whose class is among the k most probable, for each k of 1, 3 and
            5 that is below the number of classes; empty for multi-label.
        balanced_accuracy: The mean recall of the classes that were tested; for multi-label, the
            mean of recall and specificity, averaged over classes.
        macro_f1: The mean F1 of the classes that were tested or predicted.
        calibration_error: The expected calibration error, 0 to 1; see
            `tlkit.evaluation.calibration_error`.
        intervals: The 95 % intervals of loss, balanced_accuracy, macro_f1 and calibration_error, by
            1,000 bootstrap resamples of the images, drawn within each class for the two means over
            classes. For multi-label, also those of the last four metrics below, all by 200 to 1,000
            resamples drawn from all images.
        classes: The metrics of each class.
        confusion: How many images of each true class (row) were predicted as each (column); for
            multi-label one 2 x 2 matrix for each class, `(classes, 2, 2)`, in the order absent,
            present.
        probabilities: `(count, classes)`, in the order of the test set; of a sample of it, if a
            cluster evaluated too many images.
        labels: The true class index of each image, `(count,)`; for multi-label, rows of 0 and 1. Of
            the same images as the probabilities.
        mean_average_precision: For multi-label, the mean average precision over classes (mAP).
        mean_auc: For multi-label, the mean area under the ROC curve.
        micro_f1: For multi-label, F1 of all classes of all images together.
        hamming_loss: For multi-label, the share of all labels of all images that are wrong.
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
    classes: tuple[ClassMetrics, ...] = field(repr=False)
    confusion: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    mean_average_precision: float | None = None
    mean_auc: float | None = None
    micro_f1: float | None = None
    hamming_loss: float | None = None

    @property
    def is_multi_label(self) -> bool:
        """Whether an image can have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def thresholds(self) -> np.ndarray:
        """For multi-label, the lowest probability at which an image has each class."""
        return np.array(
            [0.5 if each.threshold is None else each.threshold for each in self.classes]
        )

    @property
    def correct(self) -> np.ndarray:
        """Whether each image was classified correctly; for multi-label, in all classes."""
        if self.is_multi_label:
            right = (self.probabilities >= self.thresholds) == self.labels
            return np.asarray(right.all(axis=1))
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in order."""
        return tuple(each.name for each in self.classes)

    @property
    def has_tied_errors(self) -> bool:
        """Whether two pairs of classes are confused equally often, and no pair more often."""
        counts = [pair.count for pair in self.most_confused(2)]
        return len(counts) == 2 and counts[0] == counts[1]

    @check_arguments
    def most_confused(self, count: int = 10) -> tuple[ConfusedPair, ...]:
        """Return the pairs of classes that are confused most often, the most frequent first.

        Of equally frequent pairs, the first is that with the largest share of its class.

        Args:
            count: The maximum number of pairs.

        Raises:
            ConfigError: `count` is below 1.
            DataError: The evaluation is multi-label, where an image can have both classes.
        """
        arguments.at_least("count", count, 1)
        if self.is_multi_label:
            raise DataError(
                "`most_confused` needs classes that exclude each other, got a multi-label "
                "evaluation. `classes` has precision and recall of each class."
            )
        errors = self.confusion - np.diag(np.diag(self.confusion))
        support = np.array([[max(each.support, 1)] for each in self.classes])
        order = np.lexsort((-(errors / support).ravel(), -errors.ravel()))[:count]
        pairs = (np.unravel_index(at, errors.shape) for at in order if errors.flat[at])
        return tuple(
            ConfusedPair(
                true=self.class_names[row],
                predicted=self.class_names[column],
                count=int(errors[row, column]),
                share=float(errors[row, column] / self.classes[row].support),
            )
            for row, column in pairs
        )

    @check_arguments
    def weakest(self, count: int) -> tuple[ClassMetrics, ...]:
        """Return the tested classes with the lowest F1, or all if there are at most `count`.

        All classes are returned in the classifier's order.

        Args:
            count: The maximum number of classes.
        """
        if len(self.classes) <= count:
            return self.classes
        tested = [each for each in self.classes if each.support]
        return tuple(sorted(tested, key=lambda each: each.f1)[:count])

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as values that JSON can hold, without the values of single images."""
        more = _OF_MULTI_LABEL
        of_class = ("average_precision", "average_precision_interval", "auc", "threshold")
        left_out = () if self.is_multi_label else of_class
        return {
            "count": self.count,
            **({name: getattr(self, name) for name in more} if self.is_multi_label else {}),
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "loss": self.loss,
            "top_k": {str(k): share for k, share in self.top_k.items()},
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "calibration_error": self.calibration_error,
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "classes": [
                {name: value for name, value in asdict(each).items() if name not in left_out}
                for each in self.classes
            ],
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], *, labels: np.ndarray, probabilities: np.ndarray
    ) -> "Evaluation":
        """Return the inverse of `to_dict`, with the values of images that it leaves out.

        Args:
            values: The metrics.
            labels: As for `Evaluation`.
            probabilities: As for `Evaluation`.
        """
        numbers: dict[str, Any] = {name: float(values[name]) for name in _NUMBERS}
        return cls(
            **numbers | {name: values.get(name) for name in _OF_MULTI_LABEL},
            count=int(values["count"]),
            accuracy_interval=to_pair(values["accuracy_interval"]),
            top_k={int(k): float(share) for k, share in values["top_k"].items()},
            intervals={name: to_pair(bounds) for name, bounds in values["intervals"].items()},
            classes=tuple(ClassMetrics.from_dict(each) for each in values["classes"]),
            confusion=np.asarray(values["confusion"], "int64"),
            probabilities=probabilities,
            labels=labels,
        )

    def summary(self) -> str:
        """Return the metrics over all classes, in two lines."""
        if self.is_multi_label:
            absent = [each.name for each in self.classes if not each.support]
            return multi_label.summarize(vars(self), absent)
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
        shown = [
            (
                each.name,
                *((each.average_precision, each.auc) if self.is_multi_label else ()),
                *each.defined(),
                *((each.threshold,) if self.is_multi_label else ()),
                each.support,
            )
            for each in self.weakest(_MAX_ROWS)
        ]
        rows = [
            (name, *("-" if value is None else f"{value:.3f}" for value in values), f"{support:,}")
            for name, *values, support in shown
        ]
        columns: tuple[str, ...] = ("class", "precision", "recall", "f1", "images")
        if self.is_multi_label:
            columns = ("class", "average precision", "auc", *columns[1:4], "threshold", "images")
        align = f"l{'r' * (len(columns) - 1)}"
        lines = [self.summary()]
        if len(self.classes) > _MAX_ROWS:
            lines.append(f"the {len(rows)} of {len(self.classes):,} classes with the lowest F1:")
        untested = sum(not each.support for each in self.classes)
        if untested and not self.is_multi_label:  # the multi-label summary names them
            lines.append(f"{untested:,} of {len(self.classes):,} classes have no images to test on")
        shares = [name for name in columns if name not in ("class", "images", "threshold")]
        table = build_table(columns, rows, align=align, bars=shares)
        return rich.console.Group(*lines, table)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        confusion = ""
        if not self.is_multi_label and len(self.classes) <= _MAX_IN_NOTEBOOK:
            counts = html.matrix(self.confusion, self.class_names)
            title = "Confusion matrix: images of each true class (row) by predicted class (column)"
            confusion = html.fold(title, counts)
        return html.join(html.render_html(self), confusion)


@check_arguments
def compute_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    class_names: Sequence[str],
    thresholds: Sequence[float] | np.ndarray | None = None,
) -> Evaluation:
    """Compare predicted probabilities with the true classes.

    Args:
        labels: The true class index of each image, `(count,)`; for multi-label rows of 0 and 1,
            `(count, classes)`.
        probabilities: `(count, classes)`, each row adding up to 1; for multi-label, each one from
            0 to 1.
        class_names: The name of each class.
        thresholds: For multi-label, the lowest probability at which an image has a class, one for
            each class; by default 0.5.

    Raises:
        DataError: The shapes don't agree, a label is out of range, or a probability not finite.

    Examples:
        >>> rows = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> result = compute_metrics(np.array([0, 1, 1]), rows, class_names=["cat", "dog"])
        >>> round(result.accuracy, 3), result.confusion.tolist()
        (0.667, [[1, 0], [1, 1]])
    """
    labels = arrays.check_numbers("labels", labels, 1, 2)
    probabilities = arrays.check_numbers("probabilities", probabilities, 2)
    _check(labels, probabilities, len(class_names))
    if labels.ndim == 2:
        multi_label.check(labels, probabilities)
        found, rows = multi_label.measure(labels, probabilities, thresholds)
    else:
        single_label.check(labels, num_classes=len(class_names))
        found, rows = single_label.measure(labels, probabilities)
    classes = [ClassMetrics(name=name, **row) for name, row in zip(class_names, rows, strict=True)]
    return Evaluation(**found, classes=tuple(classes), probabilities=probabilities, labels=labels)


def _check(labels: np.ndarray, probabilities: np.ndarray, classes: int) -> None:
    if probabilities.shape != (len(labels), classes) or len(labels) == 0:
        raise DataError(
            f"`probabilities` must have shape ({len(labels)}, {classes}), a row for each of "
            f"`labels` and a column for each of `class_names`, got {probabilities.shape}."
        )
    if not np.isfinite(probabilities).all():
        raise DataError("`probabilities` must be finite, got NaN: the model has diverged.")
