"""The metrics of a classifier whose images can have several classes, or none.

scikit-learn computes the metrics of the test set. Their bootstrap intervals are computed here, for
many resamples at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    hamming_loss,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from tlkit._internal.text import join_first
from tlkit.errors import DataError
from tlkit.evaluation.reliability import NUM_BINS, bin_of, calibration_error

_MAX_RESAMPLES, _MIN_RESAMPLES = 1000, 200
_MAX_DRAWN = 10**7  # labels in all resamples together, which take a second or two
_BATCH = 50  # resamples at a time, to bound the memory
_MIN_PROBABILITY = float(np.finfo("float64").eps)


def check(labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Check rows of 0 and 1 against the probabilities of the same images.

    Raises:
        DataError: The shapes differ, or values are out of range.
    """
    if labels.shape != probabilities.shape or not np.isin(labels, (0, 1)).all():
        raise DataError(
            "`labels` with a column for each class must be 0 or 1 and of the shape "
            f"{probabilities.shape}, got {labels.shape} from {labels.min():g} to {labels.max():g}."
        )
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise DataError(
            f"`probabilities` must be from 0 to 1, got {probabilities.min():g} to "
            f"{probabilities.max():g}."
        )


def summarize(metrics: Mapping[str, Any], absent: Sequence[str]) -> str:
    """Return the metrics over all classes, in three lines.

    Args:
        metrics: The attributes of an evaluation.
        absent: The classes that no test image has.
    """

    def show(name: str, label: str) -> str:
        value, bounds = metrics[name], metrics["intervals"].get(name)
        if value is None:
            return f"{label} undefined"
        given = f" ({100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %)" if bounds else ""
        return f"{label} {100 * value:.2f} %{given}"

    low, high = metrics["accuracy_interval"]
    lines = [
        f"{show('mean_average_precision', 'mean average precision')}, "
        f"{show('mean_auc', 'mean AUC')}, {metrics['count']:,} images; 95 % intervals in brackets",
        f"{show('macro_f1', 'macro F1')}, {show('micro_f1', 'micro F1')}, "
        f"{show('hamming_loss', 'Hamming loss')}",
        f"all classes of an image right {100 * metrics['accuracy']:.2f} % ({100 * low:.2f} to "
        f"{100 * high:.2f} %), loss {metrics['loss']:.4f}, "
        f"{show('calibration_error', 'calibration error')}",
    ]
    if absent:
        lines.append(
            f"no test image has {join_first(absent)}: their average precision and AUC are "
            "undefined, and means leave them out"
        )
    return "\n".join(lines)


def measure(
    labels: np.ndarray, probabilities: np.ndarray, thresholds: Sequence[float] | np.ndarray | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the metrics over all classes by name, and those of each class.

    Args:
        labels: Rows of 0 and 1, `(count, classes)`.
        probabilities: `(count, classes)`.
        thresholds: The lowest probability at which an image has a class, one for each class; None
            means 0.5.
    """
    decided = np.full(labels.shape[1], 0.5) if thresholds is None else np.asarray(thresholds)
    predicted = (probabilities >= decided).astype(int)
    classes = _measure_classes(labels, probabilities, predicted, decided)
    bounds, of_classes = _intervals(labels, probabilities.astype("float64"), predicted)
    for at, row in enumerate(classes):
        if row["support"]:
            row["average_precision_interval"] = of_classes[at]
    num_correct = int((predicted == labels).all(axis=1).sum())
    interval = binomtest(num_correct, len(labels)).proportion_ci(0.95, method="wilson")
    counts = _Counts(np.ones((1, len(labels))), labels, predicted)
    return {
        "count": len(labels),
        "accuracy": num_correct / len(labels),
        "accuracy_interval": (float(interval.low), float(interval.high)),
        "loss": float(_losses(labels, probabilities.astype("float64")).mean()),
        "top_k": {},
        "balanced_accuracy": _first(counts.balanced_accuracy()),
        "macro_f1": _first(counts.macro_f1()),
        "micro_f1": float(f1_score(labels, predicted, average="micro", zero_division=0.0)),
        "hamming_loss": float(hamming_loss(labels, predicted)),
        "mean_average_precision": _mean(row["average_precision"] for row in classes),
        "mean_auc": _mean(row["auc"] for row in classes),
        "calibration_error": calibration_error(labels, probabilities),
        "intervals": bounds,
        "confusion": multilabel_confusion_matrix(labels, predicted),
    }, classes


def _measure_classes(
    labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray, thresholds: np.ndarray
) -> list[dict[str, Any]]:
    found = precision_recall_fscore_support(labels, predicted, average=None, zero_division=0.0)
    columns = zip(*(values.tolist() for values in found), strict=True)
    rows = []
    for at, (precision, recall, f1, support) in enumerate(columns):
        truth, scores = labels[:, at], probabilities[:, at]
        rows.append(
            {
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "support": support,
                "num_predicted": int(predicted[:, at].sum()),
                "average_precision": float(average_precision_score(truth, scores))
                if support
                else None,
                "auc": float(roc_auc_score(truth, scores)) if 0 < support < len(truth) else None,
                "threshold": float(thresholds[at]),
            }
        )
    return rows


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the binary cross-entropy of each image, as the mean over its classes."""
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.maximum(right, _MIN_PROBABILITY)).mean(axis=1))


# The calibration error is the mean, over bins, of the distance between mean probability and share
# of positive labels, weighted by the bin's count. Count times distance is the absolute sum of
# probability minus label over the bin, so the sums of each image are enough for any resample.
def _sum_gaps(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the sum of probability minus label of each image in each bin, `(count, bins)`."""
    sums = np.zeros((len(labels), NUM_BINS))
    rows = np.repeat(np.arange(len(labels)), labels.shape[1])
    np.add.at(
        sums, (rows, bin_of(probabilities.ravel(), NUM_BINS)), (probabilities - labels).ravel()
    )
    return sums


class _Counts:
    """Correct and wrong predictions of each class in bootstrap resamples of the images.

    A resample is represented by a weight for each image, the number of times that it was drawn, so
    that counts are products of matrices.

    Args:
        weights: `(resamples, count)`.
        labels: Rows of 0 and 1.
        predicted: Rows of 0 and 1.
    """

    def __init__(self, weights: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> None:
        self.count = weights.sum(axis=1, keepdims=True)
        self.right = weights @ (labels * predicted).astype("float64")
        self.positive = weights @ labels.astype("float64")
        self.predicted = weights @ predicted.astype("float64")

    def balanced_accuracy(self) -> np.ndarray:
        """Return the mean over classes of recall and specificity, of each resample."""
        negative = self.count - self.positive
        rejected = negative - (self.predicted - self.right)
        recall = self.right / np.where(self.positive > 0, self.positive, np.nan)
        specificity = rejected / np.where(negative > 0, negative, np.nan)
        return _nanmean((recall + specificity) / 2)

    def macro_f1(self) -> np.ndarray:
        """Return the mean F1 of the classes that have images or were predicted."""
        both = self.positive + self.predicted
        return _nanmean(2 * self.right / np.where(both > 0, both, np.nan))

    def micro_f1(self) -> np.ndarray:
        """Return F1 of all classes together."""
        both = (self.positive + self.predicted).sum(axis=1)
        return np.asarray(2 * self.right.sum(axis=1) / np.maximum(both, 1))

    def hamming_loss(self) -> np.ndarray:
        """Return the share of labels that are wrong."""
        wrong = self.positive + self.predicted - 2 * self.right
        return np.asarray(wrong.sum(axis=1) / (self.count[:, 0] * wrong.shape[1]))


# The images are drawn with replacement, as many as the test set has. Instead of looking up drawn
# images, each resample is represented by a weight for every image, the number of times that it was
# drawn. With the images sorted by score once, cumulative sums of the weights give the curves of all
# resamples. Images of equal score can't be ranked, so the curves have a point only after the last
# of them.
def _intervals(
    labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray
) -> tuple[dict[str, tuple[float, float]], list[tuple[float, float]]]:
    """Return the 95 % interval of each metric by name, and of each class's average precision."""
    random = np.random.default_rng(0)
    count, size = len(labels), labels.size
    resamples = int(np.clip(_MAX_DRAWN // size, _MIN_RESAMPLES, _MAX_RESAMPLES))
    losses, gaps = _losses(labels, probabilities), _sum_gaps(labels, probabilities)
    found: dict[str, list[np.ndarray]] = {}
    for _ in range(-(-resamples // _BATCH)):
        drawn = random.integers(0, count, (_BATCH, count))
        weights = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype("float64")
        curves = [
            ranking(labels[:, at], probabilities[:, at], weights) for at in range(labels.shape[1])
        ]
        precisions, areas = (np.stack(part, axis=1) for part in zip(*curves, strict=True))
        counts = _Counts(weights, labels, predicted)
        batch = {
            "mean_average_precision": _nanmean(precisions),
            "mean_auc": _nanmean(areas),
            "macro_f1": counts.macro_f1(),
            "micro_f1": counts.micro_f1(),
            "hamming_loss": counts.hamming_loss(),
            "balanced_accuracy": counts.balanced_accuracy(),
            "loss": weights @ losses / count,
            "calibration_error": np.abs(weights @ gaps).sum(axis=1) / size,
            "classes": precisions,
        }
        for name, values in batch.items():
            found.setdefault(name, []).append(values)
    bounds = {name: _percentiles(np.concatenate(values)) for name, values in found.items()}
    of_classes = bounds.pop("classes")
    return {name: each[0] for name, each in bounds.items() if np.isfinite(each[0][0])}, of_classes


def ranking(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and area under the ROC curve, for several weightings of the images.

    Both are defined as in scikit-learn; NaN where one is undefined.

    Args:
        labels: 0 or 1 for each image, `(count,)`.
        scores: The score of each image, `(count,)`.
        weights: `(weightings, count)`, at least 0.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True]))  # image of each score
    ordered = weights[:, order]
    retrieved = np.cumsum(ordered, axis=1)[:, last]
    found = np.cumsum(ordered * labels[order], axis=1)[:, last]
    wrong = retrieved - found
    positives, negatives = found[:, -1], wrong[:, -1]
    gained = np.diff(found, axis=1, prepend=0)
    precision = (gained * found / np.maximum(retrieved, 1e-12)).sum(axis=1)
    area = (np.diff(wrong, axis=1, prepend=0) * (found - gained / 2)).sum(axis=1)
    pairs = positives * negatives
    return (
        precision / np.where(positives > 0, positives, np.nan),
        area / np.where(pairs > 0, pairs, np.nan),
    )


def precision_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the standard error of the mean average precision, by the bootstrap.

    Args:
        labels: Rows of 0 and 1, `(count, classes)`.
        scores: `(count, classes)`.
    """
    random = np.random.default_rng(0)
    draws = random.multinomial(len(labels), [1 / len(labels)] * len(labels), size=_BATCH)
    weights = draws.astype("float64")
    precisions = [
        ranking(labels[:, at], scores[:, at], weights)[0] for at in range(labels.shape[1])
    ]
    means = _nanmean(np.stack(precisions, axis=1))
    return float(means[np.isfinite(means)].std(ddof=1)) if np.isfinite(means).sum() > 1 else 0.0


def _percentiles(values: np.ndarray) -> list[tuple[float, float]]:
    """Return the middle 95 % of each column; NaN for a column without finite values."""
    columns = values.reshape(len(values), -1).T
    defined = [column[np.isfinite(column)] for column in columns]
    return [
        tuple(np.percentile(each, [2.5, 97.5]).tolist()) if len(each) else (np.nan, np.nan)
        for each in defined
    ]


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the finite values of each row; NaN for a row without any."""
    defined = np.isfinite(values)
    total = np.where(defined, values, 0).sum(axis=1)
    return np.asarray(total / np.where(defined.any(axis=1), defined.sum(axis=1), np.nan))


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if all are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _first(values: np.ndarray) -> float:
    """Return the only value, or 0 if it is undefined, as scikit-learn does."""
    return float(np.nan_to_num(values[0]))
