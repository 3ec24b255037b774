"""Standard errors and intervals of shares of correct images, and of differences of such shares."""

import math
from collections.abc import Sequence

import numpy as np

_NORMAL_95 = 1.959964  # standard errors on either side of a 95 % interval


def standard_error(values: np.ndarray, groups: Sequence[str] = ()) -> float:
    """Return the standard error of the mean of values, one for each image.

    Images of one group, such as duplicates, are not independent, but groups are.

    Args:
        values: One value for each image, `(count,)`.
        groups: The group of each image; empty if each image is a group of its own.

    Examples:
        >>> standard_error(np.array([1.0, 0.0, 1.0, 0.0]))
        0.25
        >>> round(standard_error(np.array([1.0, 0.0, 1.0, 0.0]), ["a", "b", "a", "b"]), 4)
        0.3536
    """
    deviations = values - values.mean()
    if groups:
        _, numbers = np.unique(np.asarray(groups), return_inverse=True)
        deviations = np.bincount(numbers, weights=deviations)
    return math.sqrt(float((deviations**2).sum())) / len(values)


# Wilson's interval, for the number of independent images that has this standard error; images in
# groups count as fewer. Unlike mean plus and minus two standard errors, the interval stays within 0
# and 1, and is not empty if every image is classified correctly.
def wilson_interval(correct: np.ndarray, groups: Sequence[str] = ()) -> tuple[float, float]:
    """Return the 95 % interval of the share of correct images, its lower and upper end.

    Args:
        correct: Whether each image is classified correctly, `(count,)`.
        groups: As for `standard_error`.

    Examples:
        >>> [round(end, 3) for end in wilson_interval(np.arange(100) < 90)]
        [0.826, 0.945]
    """
    share, count = float(correct.mean()), float(len(correct))
    error = standard_error(correct.astype(float), groups)
    if error > 0:
        count = min(count, share * (1 - share) / error**2)
    elif groups:
        count = float(len(set(groups)))
    square = _NORMAL_95**2 / count
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    return (centre - half if share > 0 else 0.0), (centre + half if share < 1 else 1.0)
