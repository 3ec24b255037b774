"""Fit linear classifiers to features: ridge regression and logistic regression."""

import warnings
from collections.abc import Iterable
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tlkit.training.linear import PENALTIES, Linear, Moments, cross_entropy, fold_scaling

Solver = Literal["lbfgs", "ridge"]
"""Multinomial logistic regression by L-BFGS, and ridge regression in closed form."""


_MAX_ITERATIONS = 200
_TOLERANCE = 1e-3  # stop when no derivative of the loss is larger
_BLOCK = 4096
_LOG_TEMPERATURES = (-6, 3)
_MIN_HOLDOUT = 2000  # images; a tenth of fewer is too small to choose a penalty on
_FOLDS = 5
_MAX_CHOICE = 10_000  # images to choose the penalty on; more take seconds and change nothing


def ridge(
    features: np.ndarray, labels: np.ndarray, *, classes: int, seed: int | None = None
) -> Linear:
    """Fit ridge regression in closed form, scaled so that its softmax is calibrated.

    The penalty and the scale are chosen on a tenth of the images, held out for that; with fewer
    than 2,000 images, by 5-fold cross-validation.

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`.
        classes: Number of classes.
        seed: Chooses the images held out.
    """
    whole = _moments(features, labels, classes)
    parts = _split(len(labels), seed)
    found: dict[float, list[np.ndarray]] = {penalty: [] for penalty in PENALTIES}
    for _, part in parts:
        x, y = features[part], labels[part]
        others = whole.without(_moments(x, y, classes)) if len(y) < len(labels) else whole
        for linear in others.solve():
            found[linear.penalty].append(linear.logits(x))
    truth = np.concatenate([labels[part] for _, part in parts])
    logits = {penalty: np.concatenate(each) for penalty, each in found.items()}
    best = max(logits, key=lambda penalty: (logits[penalty].argmax(axis=1) == truth).mean())
    scale = 1 / fit_temperature(logits[best], truth, smoothing=1 / (len(truth) + 2))
    [chosen] = whole.solve([best])
    return Linear(
        kernel=chosen.kernel * np.float32(scale),
        bias=chosen.bias * np.float32(scale),
        penalty=chosen.penalty,
    )


def lbfgs(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    penalty: float | None = None,
    seed: int | None = None,
) -> Linear:
    """Fit multinomial logistic regression by scikit-learn's L-BFGS on standardised features.

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`.
        classes: Number of classes.
        penalty: L2 penalty per image; None chooses one of `linear.PENALTIES` on a tenth of the
            images, held out for that, or with fewer than 2,000 images by 5-fold cross-validation.
        seed: Chooses the images held out.
    """
    scaler = StandardScaler()
    for block in _blocks(len(features)):
        scaler.partial_fit(features[block])
    standard = scaler.transform(features)
    if penalty is None:
        penalty = _choose_penalty(standard, labels, classes, seed=seed)
    kernel, bias = _fit(_regression(), standard, labels, classes, penalty)
    return fold_scaling(kernel, bias, scaler.mean_, scaler.scale_, penalty)


# The penalty path: a strong penalty makes a problem that is solved in a few iterations, and its
# solution is near that of the next weaker penalty. So the penalties are tried from the strongest
# on, each solution starting where the last one ended. The path ends as soon as the held-out loss
# has risen by 5 % over its lowest value: weaker penalties overfit more and take the most
# iterations. The loss is a mean over images, so the same penalty means the same whatever their
# number; but more images need less of it, in proportion.
def _choose_penalty(
    features: np.ndarray, labels: np.ndarray, classes: int, *, seed: int | None
) -> float:
    """Return the penalty with the lowest loss on held-out images."""
    parts = [
        (fitted[:_MAX_CHOICE], part[:_MAX_CHOICE], _regression())
        for fitted, part in _split(len(labels), seed)
    ]
    losses: dict[float, float] = {}
    for penalty in sorted(PENALTIES, reverse=True):
        total = 0.0
        for fitted, part, model in parts:
            kernel, bias = _fit(model, features[fitted], labels[fitted], classes, penalty)
            total += len(part) * cross_entropy(features[part] @ kernel + bias, labels[part])
        losses[penalty] = total
        if total > 1.05 * min(losses.values()):
            break
    best = min(losses, key=lambda penalty: losses[penalty])
    return best * len(parts[0][0]) / len(labels)


def _regression() -> LogisticRegression:
    return LogisticRegression(warm_start=True, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS)


def _fit(
    model: LogisticRegression,
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    penalty: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the regression from where it is; return its kernel and bias, with every class.

    A class without images gets the odds of one image more, at most.
    """
    kernel = np.zeros((features.shape[1], classes), "float32")
    bias = np.zeros(classes, "float32")
    present = np.unique(labels)
    if len(present) > 1:
        # of two classes scikit-learn fits the difference, whose square is twice that of both
        model.C = (2 if len(present) == 2 else 1) / (penalty * len(labels))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)
        weights, biases = model.coef_.T, model.intercept_
        if len(present) == 2:
            weights, biases = weights * [-0.5, 0.5], biases * [-0.5, 0.5]
        kernel[:, present], bias[present] = weights, biases
    if len(present) < classes:
        logits = features @ kernel[:, present] + bias[present]
        bias[np.setdiff1d(np.arange(classes), present)] = logsumexp(logits, axis=1).min() - np.log(
            len(labels)
        )
    return kernel, bias


def _split(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which images to fit and which to hold out: a tenth, or five folds of a small set."""
    order = np.random.default_rng(seed).permutation(count)
    if count == 1:
        return [(order, order)]
    if count >= _MIN_HOLDOUT:
        return [(order[count // 10 :], order[: count // 10])]
    folds = np.array_split(order, min(_FOLDS, count))
    return [(np.setdiff1d(order, fold, assume_unique=True), fold) for fold in folds]


def _moments(features: np.ndarray, labels: np.ndarray, classes: int) -> Moments:
    moments = Moments(features.shape[1], classes)
    for block in _blocks(len(labels)):
        moments.add(features[block], labels[block])
    return moments


def fit_temperature(logits: np.ndarray, labels: np.ndarray, *, smoothing: float = 0.0) -> float:
    """Return the number to divide logits by for the lowest cross-entropy.

    Temperature scaling: Guo et al., 2017 (arXiv:1706.04599).

    Args:
        logits: `(count, classes)`, of images that were not trained on.
        labels: Class indices, `(count,)`.
        smoothing: The share of each label that is spread over the other classes. Without it the
            best temperature of predictions that are all correct is 0; Platt (1999) takes
            `1 / (count + 2)`.
    """
    count, classes = logits.shape
    targets = np.full(logits.shape, smoothing / max(classes - 1, 1))
    targets[np.arange(count), labels] = 1 - smoothing

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - (targets * scaled).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def stack_batches(batches: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Return batches of features as one float32 array `(count, size)`.

    Args:
        batches: Features of some images each; a batch is copied and not kept.
        count: The number of images in all batches.
    """
    features, used = np.empty((count, 0), "float32"), 0
    for batch in batches:
        rows = batch.reshape(len(batch), -1)
        if not used:
            features = np.empty((count, rows.shape[1]), "float32")
        features[used : used + len(rows)] = rows
        used += len(rows)
    return features


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]
