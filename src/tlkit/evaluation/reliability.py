"""Reliability of confidences: are 80 % of the predictions with a confidence of 80 % correct?"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from tlkit._internal import arguments, arrays
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.training import linear, temperature

NUM_BINS = 15
_MAX_BINS = 10_000
_MIN_PROBABILITY = 1e-12
_MAX_PROBABILITY = 1 - 2**-25  # halfway between 1 and the float32 below it


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """The predictions whose confidence lies between two bounds.

    Attributes:
        low: The lower bound, not included.
        high: The upper bound, included.
        count: How many predictions there are.
        confidence: Their mean confidence; 0 in an empty bin.
        accuracy: The share of them that is correct; 0 in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@check_arguments
def calibration_curve(
    labels: np.ndarray, probabilities: np.ndarray, *, num_bins: int = NUM_BINS
) -> list[CalibrationBin]:
    """Return the accuracy of predictions by their confidence, in bins.

    The confidence is the highest probability. scikit-learn's function of this name is for two
    classes; this one is for any number, and keeps empty bins and the count of each bin. For
    multi-label, the curve is the share of images that have a class, by the probability of that
    class, over all classes.

    Args:
        labels: The true class index of each image; for multi-label, rows of 0 and 1.
        probabilities: `(count, classes)`.
        num_bins: How many bins of equal width to divide 0 to 1 into, from 1 to 10,000.

    Examples:
        >>> rows = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
        >>> curve = calibration_curve(np.array([0, 1, 1]), rows, num_bins=2)
        >>> [(each.count, round(each.accuracy, 3)) for each in curve]
        [(0, 0.0), (3, 0.667)]
    """
    if arguments.at_least("num_bins", num_bins, 1) > _MAX_BINS:
        raise ConfigError(
            Argument("num_bins"), f" must be at most {_MAX_BINS:,}, got {show(num_bins)}."
        )
    labels = arrays.check_numbers("labels", labels, 1, 2)
    probabilities = arrays.check_numbers("probabilities", probabilities, 2)
    if labels.shape not in (probabilities.shape, probabilities.shape[:1]):
        raise DataError(
            f"`labels` must be one for each of the {len(probabilities)} rows of `probabilities`, "
            f"got the shape {labels.shape}."
        )
    if labels.ndim == 2:
        confidence, correct = probabilities.ravel().astype("float64"), labels.ravel()
    else:
        confidence = probabilities.max(axis=1).astype("float64")
        correct = (probabilities.argmax(axis=1) == labels).astype("float64")
    return divide_into_bins(confidence, correct, num_bins)


def divide_into_bins(
    confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS
) -> list[CalibrationBin]:
    """Return the bins of predictions with these confidences, each correct (1) or not (0)."""
    index = bin_of(confidence, num_bins)
    count = np.bincount(index, minlength=num_bins)
    mean_confidence, accuracy = (
        np.bincount(index, values, minlength=num_bins) / np.maximum(count, 1)
        for values in (confidence, correct)
    )
    return [
        CalibrationBin(
            low=at / num_bins,
            high=(at + 1) / num_bins,
            count=int(count[at]),
            confidence=float(mean_confidence[at]),
            accuracy=float(accuracy[at]),
        )
        for at in range(num_bins)
    ]


def bin_of(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """Return the index of the bin of each confidence, for bins of equal width."""
    above = np.ceil(confidence * num_bins).astype(int)
    return np.asarray(np.clip(above - 1, 0, num_bins - 1))


@check_arguments
def calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, *, num_bins: int = NUM_BINS
) -> float:
    """Return the expected calibration error: the mean distance of confidence from accuracy.

    Naeini et al., 2015, as Guo et al., 2017 (arXiv:1706.04599) use it.

    Args:
        labels: The true class index of each image; for multi-label, rows of 0 and 1.
        probabilities: `(count, classes)`.
        num_bins: As for `calibration_curve`.

    Examples:
        >>> calibration_error(np.array([0, 0, 0, 1]), np.array([[0.75, 0.25]] * 4))
        0.0
    """
    return mean_distance(calibration_curve(labels, probabilities, num_bins=num_bins))


def mean_distance(bins: list[CalibrationBin]) -> float:
    """Return the mean distance of confidence from accuracy over all predictions in some bins."""
    distance = sum(each.count * abs(each.confidence - each.accuracy) for each in bins)
    return float(distance / sum(each.count for each in bins))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature, a divisor of the logits, with the lowest cross-entropy.

    Temperature scaling: Guo et al., 2017 (arXiv:1706.04599). A temperature above 1 means that the
    confidences were too high. The predicted classes stay the same.

    Args:
        labels: The true class index of each image; for multi-label, rows of 0 and 1.
        probabilities: `(count, classes)`, of images that the classifier was not trained on.
    """
    return temperature.fit_temperature(_to_logits(labels, probabilities), labels)


def calibrated_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the cross-entropy at the best temperature, where it is lowest.

    So classifiers can be compared regardless of how overconfident each of them is.

    Args:
        labels: As for `fit_temperature`.
        probabilities: As for `fit_temperature`.
    """
    logits = _to_logits(labels, probabilities)
    return linear.cross_entropy(logits / temperature.fit_temperature(logits, labels), labels)


def _to_logits(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the logits of single or multiple labels, up to a constant for each image."""
    precise = np.maximum(probabilities.astype("float64"), _MIN_PROBABILITY)
    if labels.ndim == 2:
        return np.asarray(logit(np.minimum(precise, _MAX_PROBABILITY)))
    return np.asarray(np.log(precise))
