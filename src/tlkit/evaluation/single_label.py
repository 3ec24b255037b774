"""The metrics of a classifier whose classes exclude each other."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from tlkit.errors import DataError
from tlkit.evaluation import bootstrap
from tlkit.evaluation.reliability import calibration_error

_TOP = (1, 3, 5)


def check(labels: np.ndarray, *, num_classes: int) -> None:
    """Check that class indices are valid.

    Raises:
        DataError: An index is below 0, or not below the number of classes.
    """
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"`labels` must be from 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}."
        )


def measure(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the metrics over all classes by name, and those of each class.

    Args:
        labels: The class index of each image, `(count,)`.
        probabilities: `(count, classes)`.
    """
    indices = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    num_correct = int((predicted == labels).sum())
    interval = binomtest(num_correct, len(labels)).proportion_ci(0.95, method="wilson")
    precise = probabilities.astype("float64")  # float32 rows add up to 1 only within 1e-7
    precise = precise / precise.sum(axis=1, keepdims=True)
    confusion = confusion_matrix(labels, predicted, labels=indices)
    support, num_predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    balanced_accuracy, macro_f1 = bootstrap.mean_over_classes(
        np.diag(confusion)[None], support, num_predicted[None]
    )
    return {
        "count": len(labels),
        "accuracy": num_correct / len(labels),
        "accuracy_interval": (float(interval.low), float(interval.high)),
        "loss": float(log_loss(labels, precise, labels=indices)),
        "top_k": _top_k(labels, probabilities),
        "balanced_accuracy": float(balanced_accuracy[0]),
        "macro_f1": float(macro_f1[0]),
        "calibration_error": calibration_error(labels, probabilities),
        "intervals": bootstrap.intervals(labels, precise),
        "confusion": confusion,
    }, _measure_classes(labels, predicted, num_predicted)


def _measure_classes(
    labels: np.ndarray, predicted: np.ndarray, num_predicted: np.ndarray
) -> list[dict[str, Any]]:
    of_classes = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(num_predicted)), zero_division=0.0
    )
    names = ("precision", "recall", "f1", "support", "num_predicted")
    columns = (values.tolist() for values in (*of_classes, num_predicted))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _top_k(labels: np.ndarray, probabilities: np.ndarray) -> dict[int, float]:
    classes = probabilities.shape[1]
    if classes == 2:  # scikit-learn expects a single column for two classes
        return {1: float((probabilities.argmax(axis=1) == labels).mean())}
    return {
        k: float(top_k_accuracy_score(labels, probabilities, k=k, labels=np.arange(classes)))
        for k in _TOP
        if k < classes
    }
