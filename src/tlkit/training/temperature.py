"""Temperature scaling: choose the number to divide logits by for the lowest cross-entropy."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from tlkit.training.linear import cross_entropy, to_rows

_LOG_TEMPERATURES = (-6, 3)


def fit_temperature(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    smoothing: float = 0.0,
    weights: np.ndarray | None = None,
) -> float:
    """Return the temperature that divides logits for the lowest cross-entropy, a number above 0.

    Temperature scaling: Guo et al., 2017 (arXiv:1706.04599).

    Args:
        logits: `(count, classes)`, of images that were not trained on.
        labels: Class indices, `(count,)`, or rows of 0 and 1.
        smoothing: The share of each label that is spread over the other classes, for class indices
            only. Without smoothing, the best temperature of predictions that are all correct is 0;
            Platt (1999) uses `1 / (count + 2)`.
        weights: A weight for each image, `(count,)`, for class indices only.
    """
    rows = to_rows(labels, logits.shape[1]).astype("float64")
    targets = rows if labels.ndim == 2 else _smooth(rows, smoothing)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if labels.ndim == 2:
            return cross_entropy(scaled, targets)
        losses = logsumexp(scaled, axis=1) - (targets * scaled).sum(axis=1)
        return float(np.average(losses, weights=weights))

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def _smooth(rows: np.ndarray, smoothing: float) -> np.ndarray:
    others = max(rows.shape[1] - 1, 1)
    return np.asarray(np.where(rows == 1, 1 - smoothing, smoothing / others))
