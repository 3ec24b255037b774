"""Whether probabilities mean what they say: of calls at 80 %, are 80 % right?"""

from dataclasses import dataclass

import numpy as np

from tlkit._internal import arguments
from tlkit.training import solvers

_MIN_PROBABILITY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The calls whose confidence lies within some bounds.

    Attributes:
        low: The bound below.
        high: The bound above.
        count: How many calls there are.
        confidence: Their mean confidence; 0 where there are none.
        accuracy: The share of them that is right; 0 where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(probabilities: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> list[Bin]:
    """Return how often calls are right, by their confidence: the highest probability.

    Args:
        probabilities: `(count, classes)`.
        labels: The true class index of each image.
        bins: How many there are, equally wide from 0 to 1.

    Examples:
        >>> sure = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
        >>> [(each.count, each.accuracy) for each in reliability(sure, np.array([0, 1, 1]), bins=2)]
        [(0, 0.0), (3, 0.6666666666666666)]
    """
    arguments.at_least("bins", bins, 1)
    confidence = probabilities.max(axis=1).astype("float64")
    right = (probabilities.argmax(axis=1) == labels).astype("float64")
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    each = np.maximum(count, 1)
    sure = np.bincount(place, confidence, minlength=bins) / each
    true = np.bincount(place, right, minlength=bins) / each
    return [
        Bin(
            low=at / bins,
            high=(at + 1) / bins,
            count=int(count[at]),
            confidence=float(sure[at]),
            accuracy=float(true[at]),
        )
        for at in range(bins)
    ]


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, on average.

    Naeini et al., 2015, as Guo et al., 2017 (arXiv:1706.04599) use it.

    Args:
        probabilities: `(count, classes)`.
        labels: The true class index of each image.
        bins: As for `reliability`.

    Examples:
        >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0
    """
    found = reliability(probabilities, labels, bins=bins)
    apart = sum(each.count * abs(each.confidence - each.accuracy) for each in found)
    return float(apart / len(labels))


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the number by which logits are to be divided for the lowest cross-entropy.

    Temperature scaling: Guo et al., 2017 (arXiv:1706.04599). Above 1 the probabilities were too
    sure. Which class is called stays the same.

    Args:
        probabilities: `(count, classes)`, of images that were not trained on.
        labels: The true class index of each image.
    """
    logits = np.log(np.maximum(probabilities.astype("float64"), _MIN_PROBABILITY))
    return solvers.fit_temperature(logits, labels)
