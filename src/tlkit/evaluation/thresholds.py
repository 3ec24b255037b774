"""Thresholds of a multi-label classifier, chosen on validation images.

A threshold is the lowest probability at which an image has a class.
"""

from dataclasses import dataclass

import numpy as np

MIN_IMAGES = 10
"""How many validation images with a class, and how many without it, choosing a threshold needs."""
DEFAULT = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Thresholds:
    """The thresholds of all classes.

    Attributes:
        values: The lowest probability at which an image has each class.
        chosen: Whether each was chosen on validation images; the others are 0.5.
    """

    values: np.ndarray
    chosen: np.ndarray


# With the images sorted by probability, a threshold between two different probabilities separates
# the images before it from those after it. So cumulative sums give all F1 scores that thresholds
# can reach. Of several thresholds with the same F1, the one nearest to 0.5 is taken.
def choose(labels: np.ndarray, probabilities: np.ndarray) -> Thresholds:
    """Return the threshold of each class with the highest F1.

    Lipton et al., 2014 (arXiv:1402.1892). A class that fewer than ten images have, or fewer than
    ten lack, stays at 0.5: with so few images, the best threshold is a matter of chance.

    Args:
        labels: Rows of 0 and 1, `(count, classes)`, of images that were not used for training.
        probabilities: `(count, classes)`.

    Examples:
        >>> labels = np.repeat([[0], [1]], 10, axis=0)
        >>> choose(labels, np.repeat([[0.1], [0.3]], 10, axis=0)).values.round(3).tolist()
        [0.3]
    """
    positives = labels.sum(axis=0)
    chosen = (positives >= MIN_IMAGES) & (len(labels) - positives >= MIN_IMAGES)
    values = np.full(labels.shape[1], DEFAULT)
    for at in np.flatnonzero(chosen):
        values[at] = _best(labels[:, at], probabilities[:, at].astype("float64"))
    return Thresholds(values=values, chosen=chosen)


def _best(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the threshold with the highest F1 of one class."""
    order = np.argsort(-probabilities, kind="stable")
    scores = probabilities[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, [True]))  # image of each probability
    found = np.cumsum(labels[order])[last]
    f1 = 2 * found / (labels.sum() + last + 1)
    low = np.append(scores[last[1:]], 0)  # thresholds above it, up to the score, have the same F1
    nearest = np.clip(DEFAULT, low + (scores[last] - low) / 2, scores[last])
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(nearest[best[np.abs(nearest[best] - DEFAULT).argmin()]])
