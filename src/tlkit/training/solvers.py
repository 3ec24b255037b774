"""Fit linear classifiers to features: ridge regression and logistic regression.

Labels are class indices `(count,)`, or for multi-label rows of 0 and 1, `(count, classes)`.
Features on disk are read block by block.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tlkit.training.linear import PENALTIES, Features, Linear, Moments, blocks
from tlkit.training.logistic_regression import lbfgs
from tlkit.training.samples import Samples, choose_rows, normalize, take
from tlkit.training.temperature import fit_temperature

__all__ = [
    "MAX_WEIGHTS",
    "Solver",
    "SolverChoice",
    "choose_solver",
    "lbfgs",
    "ridge",
    "score",
    "solve_ridge",
    "sum_moments",
]

Solver = Literal["lbfgs", "ridge"]
"""Logistic regression by L-BFGS (multinomial, or binary for each class), and ridge regression in
closed form."""

SolverChoice = Literal["auto", "lbfgs", "ridge"]
"""A solver, or the choice by the number of weights; see `choose_solver`."""

MAX_WEIGHTS = 8_000_000
"""The weights of a head that "auto" solves by L-BFGS; more take hours and gigabytes of memory."""

_MIN_CHOICE = 1000  # images to choose the penalty on, if the limit below allows fewer
_MAX_LOGITS = 10_000_000  # of held-out images, for each penalty
_SIGMOID_PENALTY = 1e-3  # keeps the scale finite if the scores separate a class perfectly


def choose_solver(choice: SolverChoice, num_weights: int) -> Solver:
    """Return the solver that "auto" stands for: L-BFGS, or ridge regression for a very large head.

    Args:
        choice: The setting.
        num_weights: The number of weights of the head: features x classes.

    Examples:
        >>> choose_solver("auto", 1280 * 1000), choose_solver("auto", 1280 * 10_000)
        ('lbfgs', 'ridge')
    """
    if choice != "auto":
        return choice
    return "lbfgs" if num_weights <= MAX_WEIGHTS else "ridge"


def ridge(
    features: Features,
    labels: np.ndarray,
    *,
    classes: int,
    weights: np.ndarray | None = None,
    seed: int | None = None,
) -> Linear:
    """Fit ridge regression in closed form, scaled so that its probabilities are calibrated.

    The penalty and the scale are chosen on a tenth of the images, held out for that; with fewer
    than 2,000 images, by 5-fold cross-validation. For multi-label, each class has its own scale and
    shift (Platt, 1999).

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`, or rows of 0 and 1.
        classes: The number of classes.
        weights: A weight for each image, `(count,)`; only their ratios matter.
        seed: The seed of the choice of held-out images.
    """
    weights = normalize(weights)
    whole = sum_moments(features, labels, classes, weights)
    held_out = [
        (np.asarray(features[part]), labels[part], take(weights, part))
        for _, rows in choose_rows(len(labels), seed)
        for part in [rows[: max(_MIN_CHOICE, _MAX_LOGITS // classes)]]
    ]
    return solve_ridge(whole, held_out, len(labels))


def solve_ridge(whole: Moments, held_out: Sequence[Samples], count: int) -> Linear:
    """Return the result of `ridge` from sums over all images.

    Args:
        whole: The sums over all images.
        held_out: The held-out images of each pair of `choose_rows`.
        count: The number of all images.
    """
    found: dict[float, list[np.ndarray]] = {penalty: [] for penalty in PENALTIES}
    for x, y, own in held_out:
        others = whole
        if len(y) < count:
            others = whole.without(sum_moments(x, y, whole.classes, own))
        for linear in others.solve():
            found[linear.penalty].append(linear.logits(x))
    truth = np.concatenate([y for _, y, _ in held_out])
    given = [own for _, _, own in held_out if own is not None]
    counted = np.concatenate(given) if given else None
    logits = {penalty: np.concatenate(each) for penalty, each in found.items()}
    best = max(logits, key=lambda penalty: score(truth, logits[penalty], counted))
    [chosen] = whole.solve([best])
    if truth.ndim == 2:
        scale, shift = _fit_sigmoids(logits[best], truth)
    else:
        smoothing = 1 / (len(truth) + 2)
        temperature = fit_temperature(logits[best], truth, smoothing=smoothing, weights=counted)
        scale, shift = np.array(1 / temperature, "float32"), np.zeros((), "float32")
    return Linear(
        kernel=chosen.kernel * scale,
        bias=chosen.bias * scale + shift,
        penalty=chosen.penalty,
    )


def score(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the accuracy, weighted by image, or for multi-label the mean average precision.

    The mean is taken over the classes that have an image.
    """
    if labels.ndim == 1:
        return float(np.average(logits.argmax(axis=1) == labels, weights=weights))
    from sklearn.metrics import average_precision_score  # importing it takes most of a second

    present = labels.any(axis=0)
    if not present.any():
        return 0.0
    return float(average_precision_score(labels[:, present], logits[:, present]))


def _fit_sigmoids(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the shift of each class's scores for the lowest cross-entropy."""
    found = [
        lbfgs(scores[:, [at]], labels[:, [at]], classes=1, penalty=_SIGMOID_PENALTY)
        for at in range(scores.shape[1])
    ]
    kernel, bias = (
        np.array([getattr(each, name) for each in found]) for name in ("kernel", "bias")
    )
    return kernel.reshape(-1), bias.reshape(-1)


def sum_moments(
    features: Features, labels: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> Moments:
    """Return the sums that ridge regression needs of images."""
    moments = Moments(features.shape[1], classes)
    for block in blocks(len(labels)):
        moments.add(features[block], labels[block], None if weights is None else weights[block])
    return moments
