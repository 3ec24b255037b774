"""Fit linear classifiers to features: ridge regression and logistic regression.

Labels are class indices `(count,)`, or for multi-label rows of 0 and 1 `(count, classes)`. Features
on disk are read block by block.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # of scikit-learn

from tlkit._internal import disk_arrays, system
from tlkit.errors import ConfigError
from tlkit.training.linear import (
    PENALTIES,
    Features,
    Linear,
    Moments,
    blocks,
    cross_entropy,
    errors_and_losses,
    fold_scaling,
    shrink_deviations,
    to_rows,
)

Samples = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Features and labels of images, and weights of them where there are any."""

Sums = tuple[np.ndarray, np.ndarray, float]
"""The gradients of kernel and bias, and the loss."""

Solver = Literal["lbfgs", "ridge"]
"""Logistic regression by L-BFGS (multinomial, or binary for each class), and ridge regression in
closed form."""


_MAX_ITERATIONS = 200
_TOLERANCE = 1e-5  # stop when an iteration lowers the loss by a smaller share
_LOG_TEMPERATURES = (-6, 3)
_MIN_HOLDOUT = 2000  # images; a tenth of fewer is too small to choose a penalty on
_FOLDS = 5
_MIN_PER_CLASS = 10  # images, to choose a penalty by
_FEW_PENALTY = 1e-2
_SIGMOID_PENALTY = 1e-3  # keeps the scale of scores finite that separate a class perfectly
_MAX_BY_ONE = 2**28  # multiply-adds of a product, above which more cores are faster
_MAX_CHOICE = 10_000  # images to choose the penalty on; more take seconds and change nothing


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
    than 2,000 images, by 5-fold cross-validation. For multi-label, each class has a scale and a
    shift of its own (Platt, 1999).

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`, or rows of 0 and 1.
        classes: Number of classes.
        weights: A weight for each image, `(count,)`; only their ratios matter.
        seed: Chooses the images held out.
    """
    weights = _normalize(weights)
    whole = sum_moments(features, labels, classes, weights)
    held_out = [
        (np.asarray(features[part]), labels[part], _take(weights, part))
        for _, part in choose_rows(len(labels), seed)
    ]
    return solve_ridge(whole, held_out, len(labels))


def solve_ridge(whole: Moments, held_out: Sequence[Samples], count: int) -> Linear:
    """Return what `ridge` returns, of sums over all images.

    Args:
        whole: The sums.
        held_out: The images of each part of `choose_rows`.
        count: How many images the sums are over.
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

    The mean is over the classes that have an image.
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


def lbfgs(
    features: Features,
    labels: np.ndarray,
    *,
    classes: int,
    penalty: float | None = None,
    weights: np.ndarray | None = None,
    seed: int | None = None,
) -> Linear:
    """Fit multinomial logistic regression by SciPy's L-BFGS on standardised features.

    Features are divided by their deviations, which of few images are shrunk towards the mean of all
    features (`linear.shrink_deviations`).

    With rows of 0 and 1 it is a binary logistic regression for each class, with one penalty for
    all, as scikit-learn's OneVsRestClassifier has it.

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`, or rows of 0 and 1.
        classes: Number of classes.
        penalty: L2 penalty per image; None chooses one of `linear.PENALTIES` on a tenth of the
            images, held out for that, or with fewer than 2,000 images by 5-fold cross-validation;
            with fewer than ten images a class it is 0.01.
        weights: A weight for each image, `(count,)`; only their ratios matter.
        seed: Chooses the images held out.
    """
    weights = _normalize(weights)
    is_whole = isinstance(features, np.ndarray) and not isinstance(features, np.memmap)
    standard, mean, scale = _standardize(features, in_memory=is_whole)
    start = np.zeros((features.shape[1] + 1, classes))
    if penalty is None and labels.ndim == 1:
        penalty = find_fixed_penalty(len(labels), classes)
    if penalty is None:
        parts = [
            tuple((standard[rows], labels[rows], _take(weights, rows)) for rows in pair)
            for pair in choose_rows(len(labels), seed)
        ]
        penalty, start = choose_penalty(parts, start, len(labels))
    found = _minimize(standard, labels, start, penalty, weights=weights)
    return fold_scaling(found[:-1], found[-1], mean, scale, penalty)


def find_fixed_penalty(count: int, classes: int) -> float | None:
    """Return the penalty for so few images that none can be chosen by them; None for others."""
    return _FEW_PENALTY if count < _MIN_PER_CLASS * classes else None


# The penalty path: a strong penalty makes a problem that is solved in a few iterations, and its
# solution is near that of the next weaker penalty. So the penalties are tried from the strongest
# on, each solution starting where the last one ended. The path ends as soon as the held-out loss
# has risen by 5 % over its lowest value: weaker penalties overfit more and take the most
# iterations. The loss is a mean over images, so the same penalty means the same whatever their
# number; but more images need less of it, in proportion.
def choose_penalty(
    parts: Sequence[tuple[Samples, ...]], start: np.ndarray, count: int
) -> tuple[float, np.ndarray]:
    """Return the penalty with the lowest loss on held-out images, and a solution to start from.

    Args:
        parts: The images to fit and those held out, standardised, of each pair of `choose_rows`.
        start: Where to start, `(features + 1, classes)`.
        count: How many images the head will be solved for.
    """
    starts = [start] * len(parts)
    tried: list[tuple[float, float, np.ndarray]] = []
    for penalty in sorted(PENALTIES, reverse=True):
        losses = []
        for index, ((x, y, others), (held, truth, own)) in enumerate(parts):
            found = _minimize(x, y, starts[index], penalty, weights=others)
            losses.append(cross_entropy(held @ found[:-1] + found[-1], truth, own))
            starts[index] = found
        sizes = [len(y) if own is None else own.sum() for _, (_, y, own) in parts]
        loss = float(np.average(losses, weights=sizes))
        tried.append((loss, penalty, starts[0]))
        if loss > 1.05 * min(each[0] for each in tried):
            break
    _, penalty, start = min(tried, key=lambda each: each[0])
    return penalty * len(parts[0][0][1]) / count, start


def _minimize(
    features: Features,
    labels: np.ndarray,
    start: np.ndarray,
    penalty: float,
    *,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the weights that minimise loss and penalty, with the bias in the last row."""
    is_whole = isinstance(features, np.ndarray)
    parts = blocks(len(labels))

    def add_up(kernel: np.ndarray, bias: np.ndarray) -> Iterable[Sums]:
        def measure(block: slice) -> Sums:
            own = None if weights is None else weights[block]
            return measure_errors((features[block], labels[block], own), kernel, bias)

        return run(measure, parts)

    work = features.shape[0] * start.size
    with _map_blocks(in_threads=is_whole and len(parts) > 1, by_one_core=work < _MAX_BY_ONE) as run:
        return minimize_sums(add_up, start, penalty, len(labels))


def measure_errors(samples: Samples, kernel: np.ndarray, bias: np.ndarray) -> Sums:
    """Return the gradients of kernel and bias and the loss, summed over images.

    Args:
        samples: The images, with standardised features.
        kernel: `(features, classes)` in float32.
        bias: `(classes,)` in float32.
    """
    x, labels, weights = samples
    errors, losses = errors_and_losses(x @ kernel + bias, labels)
    if weights is not None:
        errors *= weights[:, None]
        losses *= weights
    return x.T @ errors, errors.sum(axis=0, dtype="float64"), losses.sum(dtype="float64")


def minimize_sums(
    add_up: Callable[[np.ndarray, np.ndarray], Iterable[Sums]],
    start: np.ndarray,
    penalty: float,
    count: int,
) -> np.ndarray:
    """Return the weights that minimise loss and penalty, with the bias in the last row.

    Args:
        add_up: Returns what `measure_errors` returns for all images, in any number of sums.
        start: Where to start, `(features + 1, classes)`.
        penalty: L2 penalty per image.
        count: How many images there are.
    """
    shape = start.shape

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        found = values.reshape(shape)
        gradient, value = np.zeros(shape), 0.0
        sums = add_up(found[:-1].astype("float32"), found[-1].astype("float32"))
        for of_kernel, of_bias, of_block in sums:
            gradient[:-1] += of_kernel / count
            gradient[-1] += of_bias / count
            value += float(of_block / count)
        gradient[:-1] += penalty * found[:-1]
        return value + penalty / 2 * float((found[:-1] ** 2).sum()), gradient.ravel()

    options = {"maxiter": _MAX_ITERATIONS, "ftol": _TOLERANCE, "gtol": 0.0}
    solution = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(solution.x.reshape(shape))


# BLAS is slow at products of a tall matrix with one of few columns: on two cores, a thread for each
# block took half of its time, and of a single block one thread takes less than two that wait for
# each other: a fifth, or a twentieth beside another program. The blocks do not depend on the cores,
# nor do the sums.
@contextmanager
def _map_blocks(*, in_threads: bool, by_one_core: bool) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield what applies a function to blocks: `map`, or one with a thread for each core.

    Args:
        in_threads: Whether to use a thread for each core, and BLAS in each none of its own.
        by_one_core: Whether BLAS is to use one core otherwise.
    """
    if not in_threads:
        with _find_blas().limit(limits=1, user_api="blas") if by_one_core else nullcontext():
            yield map
        return
    with (
        _find_blas().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(system.count_cores(), thread_name_prefix="tlkit-solve") as pool,
    ):
        yield pool.map


@cache
def _find_blas() -> ThreadpoolController:
    """Return what sets the threads of BLAS; to find its libraries takes milliseconds."""
    return ThreadpoolController()


def _split(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which images to fit and which to hold out: a tenth, or five folds of a small set."""
    order = np.random.default_rng(seed).permutation(count)
    if count == 1:
        return [(order, order)]
    if count >= _MIN_HOLDOUT:
        return [(order[count // 10 :], order[: count // 10])]
    folds = np.array_split(order, min(_FOLDS, count))
    return [(np.setdiff1d(order, fold, assume_unique=True), fold) for fold in folds]


def choose_rows(count: int, seed: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to choose the penalty by: those to fit and those held out, of each part."""
    pairs = _split(count, seed)
    return [(fitted[:_MAX_CHOICE], part[:_MAX_CHOICE]) for fitted, part in pairs]


def _normalize(weights: np.ndarray | None) -> np.ndarray | None:
    """Return weights with a mean of 1, so that a penalty means the same with and without them."""
    if weights is None:
        return None
    if not weights.any():
        raise ConfigError(
            "`class_weight` must be above 0 for some class that has training images, got 0 for all."
        )
    return np.asarray(weights / weights.mean(), "float32")


def _take(weights: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if weights is None else weights[rows]


def sum_moments(
    features: Features, labels: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> Moments:
    """Return the sums that ridge regression needs of images."""
    moments = Moments(features.shape[1], classes)
    for block in blocks(len(labels)):
        moments.add(features[block], labels[block], None if weights is None else weights[block])
    return moments


def fit_temperature(
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    smoothing: float = 0.0,
    weights: np.ndarray | None = None,
) -> float:
    """Return the number to divide logits by for the lowest cross-entropy.

    Temperature scaling: Guo et al., 2017 (arXiv:1706.04599).

    Args:
        logits: `(count, classes)`, of images that were not trained on.
        labels: Class indices, `(count,)`, or rows of 0 and 1.
        smoothing: The share of each label that is spread over the other classes. Without it the
            best temperature of predictions that are all correct is 0; Platt (1999) takes
            `1 / (count + 2)`. Class indices only.
        weights: A weight for each image, `(count,)`. Class indices only.
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


def stack_batches(
    batches: Iterable[np.ndarray], count: int, *, max_bytes: int | None = None
) -> np.ndarray:
    """Return batches of features as one float32 array `(count, size)`.

    Args:
        batches: Features of some images each; a batch is copied and not kept.
        count: The number of images in all batches.
        max_bytes: How large the array may be in memory; a larger one is in a temporary file.

    Raises:
        StoreError: It does not fit on the disk.
    """
    features, used = np.empty((count, 0), "float32"), 0
    for batch in batches:
        rows = batch.reshape(len(batch), -1)
        if not used:
            features = disk_arrays.create((count, rows.shape[1]), max_bytes=max_bytes)
        features[used : used + len(rows)] = rows
        used += len(rows)
    return features


class _Standardized:
    """Features that are standardised when they are read: those on disk are not copied."""

    def __init__(self, features: Features, shift: np.ndarray, scale: np.ndarray) -> None:
        self._features, self._shift, self._scale = features, shift, scale
        self.shape = features.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.asarray((self._features[rows] - self._shift) / self._scale)


def _standardize(features: Features, *, in_memory: bool) -> tuple[Features, np.ndarray, np.ndarray]:
    """Return the features with mean 0 and deviation 1, and their means and deviations."""
    parts = blocks(len(features))
    mean = sum(features[block].sum(axis=0, dtype="float64") for block in parts) / len(features)
    squares = np.zeros(features.shape[1])
    for block in parts:
        squares += ((features[block] - mean) ** 2).sum(axis=0)
    shift = mean.astype("float32")
    deviations = np.sqrt(squares / len(features))
    scale = shrink_deviations(deviations, len(features)).astype("float32")
    if not in_memory:
        return _Standardized(features, shift, scale), shift, scale
    standard = features - shift
    standard /= scale
    return standard, shift, scale
