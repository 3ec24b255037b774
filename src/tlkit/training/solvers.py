"""Linear classifiers on features, solved instead of trained: ridge and logistic regression."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from tlkit.training.linear import PENALTIES, Linear, Moments, cross_entropy, folded, scales

Solver = Literal["lbfgs", "ridge"]
"""Multinomial logistic regression by L-BFGS, and ridge regression in closed form."""


_MOST_STEPS = 200
_CLOSE_ENOUGH = 1e-5  # a step that lowers the loss by less is the last
_BLOCK = 4096
_FEW = 2000  # images of which a tenth says too little
_FOLDS = 5
_CHOSEN_ON = 10_000  # images; more do not change which penalty is best, and cost seconds


def ridge(
    features: np.ndarray, labels: np.ndarray, *, classes: int, seed: int | None = None
) -> Linear:
    """Return ridge regression in closed form, scaled so that its softmax is calibrated.

    The penalty and the scale are chosen on a tenth of the images that is held out first; of fewer
    than 2,000, on each fifth in turn.

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`.
        classes: How many there are.
        seed: Chooses the tenth.
    """
    whole = _moments(features, labels, classes)
    parts = _held_out(len(labels), seed)
    found: dict[float, list[np.ndarray]] = {penalty: [] for penalty in PENALTIES}
    for _, part in parts:
        x, y = features[part], labels[part]
        others = whole.without(_moments(x, y, classes)) if len(y) < len(labels) else whole
        for linear in others.solve():
            found[linear.penalty].append(linear.logits(x))
    truth = np.concatenate([labels[part] for _, part in parts])
    logits = {penalty: np.concatenate(each) for penalty, each in found.items()}
    best = max(logits, key=lambda penalty: (logits[penalty].argmax(axis=1) == truth).mean())
    scale = _temperature(logits[best], truth)
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
    """Return multinomial logistic regression, by SciPy's L-BFGS on standardised features.

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`.
        classes: How many there are.
        penalty: How strongly weights are held small; None chooses on a tenth held out first, of
            fewer than 2,000 images on each fifth in turn.
        seed: Chooses the tenth.
    """
    standard, mean, scale = _standardised(features)
    start = np.zeros((features.shape[1] + 1, classes))
    if penalty is None:
        penalty, start = _chosen_penalty(standard, labels, start, seed=seed)
    found = _minimum(standard, labels, start, penalty)
    return folded(found[:-1], found[-1], mean, scale, penalty)


def _chosen_penalty(
    features: np.ndarray, labels: np.ndarray, start: np.ndarray, *, seed: int | None
) -> tuple[float, np.ndarray]:
    """Return the penalty that is best on images held out, and a solution to start from.

    From the strongest on, each solution is where the next one starts.
    """
    parts = [
        (fitted[:_CHOSEN_ON], part[:_CHOSEN_ON]) for fitted, part in _held_out(len(labels), seed)
    ]
    starts = [start] * len(parts)
    tried: list[tuple[float, float, np.ndarray]] = []
    for penalty in sorted(PENALTIES, reverse=True):
        losses = []
        for number, (fitted, part) in enumerate(parts):
            found = _minimum(features[fitted], labels[fitted], starts[number], penalty)
            losses.append(cross_entropy(features[part] @ found[:-1] + found[-1], labels[part]))
            starts[number] = found
        loss = float(np.average(losses, weights=[len(part) for _, part in parts]))
        tried.append((loss, penalty, starts[0]))
        if loss > 1.05 * min(each[0] for each in tried):
            break
    _, penalty, start = min(tried, key=lambda each: each[0])
    return penalty * len(parts[0][0]) / len(labels), start  # more images need less of it


def _minimum(
    features: np.ndarray, labels: np.ndarray, start: np.ndarray, penalty: float
) -> np.ndarray:
    """Return the weights, with the bias in the last row, of least loss and penalty."""
    rows = np.arange(len(labels))
    shape = start.shape

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights = values.reshape(shape)
        logits = features @ weights[:-1].astype("float32") + weights[-1].astype("float32")
        logits -= logits.max(axis=1, keepdims=True)
        right = logits[rows, labels].astype("float64")
        shares = np.exp(logits, out=logits)
        totals = shares.sum(axis=1, keepdims=True)
        shares /= totals
        shares[rows, labels] -= 1
        gradient = np.empty(shape)
        gradient[:-1] = features.T @ shares / len(rows) + penalty * weights[:-1]
        gradient[-1] = shares.mean(axis=0, dtype="float64")
        value = float((np.log(totals[:, 0], dtype="float64") - right).mean())
        return value + penalty / 2 * float((weights[:-1] ** 2).sum()), gradient.ravel()

    options = {"maxiter": _MOST_STEPS, "ftol": _CLOSE_ENOUGH, "gtol": 0.0}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(shape))


def _held_out(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which images to fit to and which to hold out: a tenth, of few each fifth in turn."""
    order = np.random.default_rng(seed).permutation(count)
    if count == 1:
        return [(order, order)]
    if count >= _FEW:
        return [(order[count // 10 :], order[: count // 10])]
    folds = np.array_split(order, min(_FOLDS, count))
    return [(np.setdiff1d(order, fold, assume_unique=True), fold) for fold in folds]


def _moments(features: np.ndarray, labels: np.ndarray, classes: int) -> Moments:
    made = Moments(features.shape[1], classes)
    for block in _blocks(len(labels)):
        made.add(features[block], labels[block])
    return made


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor that makes the softmax of the logits fit the labels best.

    Labels are smoothed as by one image in all that is another class (after Platt, 1999): where all
    are called rightly, the factor would have no bound.
    """
    count, classes = logits.shape
    doubt = 1 / (count + 2)
    targets = np.full(logits.shape, doubt / max(classes - 1, 1))
    targets[np.arange(count), labels] = 1 - doubt

    def loss(power: float) -> float:
        scaled = np.exp(power) * logits
        return float((logsumexp(scaled, axis=1) - (targets * scaled).sum(axis=1)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 6)).x))


def stacked(batches: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Return batches of features as one float32 array `(count, size)`.

    Args:
        batches: The features of some images each; each batch is copied and let go.
        count: Of how many images, all together.
    """
    made, used = np.empty((count, 0), "float32"), 0
    for batch in batches:
        rows = batch.reshape(len(batch), -1)
        if not used:
            made = np.empty((count, rows.shape[1]), "float32")
        made[used : used + len(rows)] = rows
        used += len(rows)
    return made


def _standardised(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features of mean 0 and deviation 1, and what they were; needs room for one copy."""
    mean = features.mean(axis=0, dtype="float64")
    squares = np.zeros(features.shape[1])
    for block in _blocks(len(features)):
        squares += ((features[block] - mean) ** 2).sum(axis=0)
    shift = mean.astype("float32")
    scale = scales(np.sqrt(squares / len(features))).astype("float32")
    standard = features - shift
    standard /= scale
    return standard, shift, scale


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]
