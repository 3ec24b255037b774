"""The metrics of a classifier from sums over images, for more images than memory holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from tlkit.errors import DataError
from tlkit.evaluation import bootstrap
from tlkit.evaluation.class_metrics import ClassMetrics
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.reliability import NUM_BINS, bin_of

_TOP = (3, 5)  # accuracy is the share of images whose class is the most probable one
_SMALLEST = np.finfo("float64").eps  # of a probability in a logarithm
_RESAMPLES, _DRAWS = (100, 1000), 4 * 10**7  # fewer resamples of many classes, which take long
_NAMES = ("confusion", "top", "losses", "bins", "confidences")


@dataclass(kw_only=True, eq=False)
class Totals:
    """Sums over images, which can be added to those of other images.

    Attributes:
        confusion: How many images of each class were predicted as each, `(classes, classes)`.
        top: How many images have their class among the 3 and the 5 most probable, `(2,)`.
        losses: The sum of the cross-entropies, and of their squares, `(2,)`.
        bins: For each bin of confidence, how many predictions are wrong and correct, `(bins, 2)`.
        confidences: The sum of the confidences of the same predictions, `(bins, 2)`.
    """

    confusion: np.ndarray
    top: np.ndarray
    losses: np.ndarray
    bins: np.ndarray
    confidences: np.ndarray

    @classmethod
    def empty(cls, classes: int) -> "Totals":
        """Return the sums over no images.

        Args:
            classes: The number of classes.
        """
        return cls(
            confusion=np.zeros((classes, classes), "int64"),
            top=np.zeros(len(_TOP), "int64"),
            losses=np.zeros(2),
            bins=np.zeros((NUM_BINS, 2), "int64"),
            confidences=np.zeros((NUM_BINS, 2)),
        )

    @property
    def count(self) -> int:
        """The number of images."""
        return int(self.confusion.sum())

    def add(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Add images.

        Args:
            labels: The true class index of each image, `(count,)`.
            probabilities: `(count, classes)`.
        """
        precise = probabilities.astype("float64")
        precise = precise / precise.sum(axis=1, keepdims=True)
        predicted, rows = precise.argmax(axis=1), np.arange(len(labels))
        np.add.at(self.confusion, (labels, predicted), 1)
        true = precise[rows, labels]
        better = (precise > true[:, None]).sum(axis=1)  # classes that are more probable
        self.top += [(better < k).sum() for k in _TOP]
        losses = -np.log(np.maximum(true, _SMALLEST))
        self.losses += [losses.sum(), (losses**2).sum()]
        confidence = precise.max(axis=1)
        cell = bin_of(confidence, NUM_BINS), (predicted == labels).astype(int)
        np.add.at(self.bins, cell, 1)
        np.add.at(self.confidences, cell, confidence)

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in _NAMES})


def to_evaluation(
    totals: Totals,
    class_names: Sequence[str],
    *,
    labels: np.ndarray,
    probabilities: np.ndarray,
) -> Evaluation:
    """Return the metrics of all images, with the predictions of a sample of them.

    All metrics are those of `compute_metrics`; their intervals come from the same resamples, drawn
    from the sums: images within a class by the confusion matrix (with more than 200 classes fewer
    resamples, at least 100), and all images by the cells of the calibration error. The interval of
    the loss is its normal approximation.

    Args:
        totals: The sums over all images.
        class_names: The name of each class.
        labels: The true class index of each image of the sample, `(count,)`.
        probabilities: The probabilities of the images of the sample, `(count, classes)`.

    Raises:
        DataError: There are no images.
    """
    if not totals.count:
        raise DataError("There must be test images to compute metrics, got none.")
    confusion, count = totals.confusion, totals.count
    support, num_predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    num_correct = int(np.trace(confusion))
    balanced_accuracy, macro_f1 = bootstrap.mean_over_classes(
        np.diag(confusion)[None], support, num_predicted[None]
    )
    interval = binomtest(num_correct, count).proportion_ci(0.95, method="wilson")
    classes = [
        ClassMetrics(name=name, **values)
        for name, values in zip(class_names, _measure_classes(confusion), strict=True)
    ]
    return Evaluation(
        count=count,
        accuracy=num_correct / count,
        accuracy_interval=(float(interval.low), float(interval.high)),
        loss=float(totals.losses[0] / count),
        top_k=_find_top(totals, len(class_names)),
        balanced_accuracy=float(balanced_accuracy[0]),
        macro_f1=float(macro_f1[0]),
        calibration_error=float(_measure_distance(totals.bins, _mean_confidences(totals))),
        intervals=_find_intervals(totals),
        classes=tuple(classes),
        confusion=confusion,
        probabilities=probabilities,
        labels=labels,
    )


def _find_top(totals: Totals, classes: int) -> dict[int, float]:
    accuracy = float(np.trace(totals.confusion) / totals.count)
    more = zip(_TOP, totals.top, strict=True)
    return {1: accuracy} | {k: float(hits / totals.count) for k, hits in more if k < classes}


def _measure_classes(confusion: np.ndarray) -> list[dict[str, Any]]:
    support, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    columns = {
        "precision": correct / np.maximum(predicted, 1),
        "recall": correct / np.maximum(support, 1),
        "f1": 2 * correct / np.maximum(support + predicted, 1),
        "support": support,
        "num_predicted": predicted,
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _mean_confidences(totals: Totals) -> np.ndarray:
    return np.asarray(totals.confidences / np.maximum(totals.bins, 1))


def _measure_distance(bins: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Return the expected calibration error of one or more sets of predictions, `(sets,)`.

    Args:
        bins: `(..., bins, 2)`, as in `Totals`.
        confidences: The mean confidence of the predictions of each cell, `(bins, 2)`.
    """
    distances = np.abs((bins * confidences).sum(axis=-1) - bins[..., 1])
    return np.asarray(distances.sum(axis=-1) / bins.sum(axis=(-2, -1)))


# A resample of images within a class changes how many of them are predicted as each class: these
# counts are drawn from a multinomial distribution, whose shares are the row of the confusion
# matrix. This is the distribution of the bootstrap over images, without the images.
def _find_intervals(totals: Totals) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric, by its name."""
    random, count = np.random.default_rng(0), totals.count
    support = totals.confusion.sum(axis=1)
    shares = totals.confusion / np.maximum(support, 1)[:, None]
    shares[:, 0] += support == 0  # a row without images; multinomial draws none of it
    balanced, f1 = [], []
    fewest, most = _RESAMPLES
    for _ in range(max(fewest, min(most, _DRAWS // totals.confusion.size))):
        drawn = random.multinomial(support, shares)
        means = bootstrap.mean_over_classes(np.diag(drawn)[None], support, drawn.sum(axis=0)[None])
        balanced.append(means[0][0])
        f1.append(means[1][0])
    cells = random.multinomial(count, totals.bins.ravel() / count, size=most)
    errors = _measure_distance(cells.reshape(-1, NUM_BINS, 2), _mean_confidences(totals))
    mean = totals.losses[0] / count
    half = 1.96 * np.sqrt(max(totals.losses[1] / count - mean**2, 0) / count)
    found = {
        "calibration_error": errors,
        "balanced_accuracy": np.array(balanced),
        "macro_f1": np.array(f1),
    }
    return {"loss": (float(mean - half), float(mean + half))} | {
        name: tuple(np.percentile(values, [2.5, 97.5]).tolist()) for name, values in found.items()
    }
