"""Logistic regression by L-BFGS: the penalty path, and sums of loss and gradient over images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # of scikit-learn

from tlkit._internal import system
from tlkit.training.feature_arrays import standardize
from tlkit.training.linear import (
    PENALTIES,
    Features,
    Linear,
    blocks,
    cross_entropy,
    errors_and_losses,
    fold_scaling,
)
from tlkit.training.samples import Samples, choose_rows, normalize, take

Sums = tuple[np.ndarray, np.ndarray, float]
"""The gradients of kernel and bias, and the loss."""

_MAX_ITERATIONS = 200
_TOLERANCE = 1e-5  # stop when an iteration lowers the loss by a smaller share
_MIN_PER_CLASS = 10  # images, to choose a penalty on
_FEW_PENALTY = 1e-2
_MAX_BY_ONE = 2**28  # multiply-adds of a product, above which more cores are faster


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

    Features are divided by their standard deviations, which for few images are shrunk towards the
    mean of all features (`linear.shrink_deviations`).

    For rows of 0 and 1, it is a binary logistic regression for each class, with one penalty for
    all classes, like scikit-learn's OneVsRestClassifier.

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`, or rows of 0 and 1.
        classes: The number of classes.
        penalty: L2 penalty per image. None chooses one of `linear.PENALTIES` on a tenth of the
            images, held out for that, or with fewer than 2,000 images by 5-fold cross-validation;
            with fewer than ten images per class it is 0.01.
        weights: A weight for each image, `(count,)`; only their ratios matter.
        seed: The seed of the choice of held-out images.
    """
    weights = normalize(weights)
    is_whole = isinstance(features, np.ndarray) and not isinstance(features, np.memmap)
    standard, mean, scale = standardize(features, in_memory=is_whole)
    start = np.zeros((features.shape[1] + 1, classes))
    if penalty is None and labels.ndim == 1:
        penalty = find_fixed_penalty(len(labels), classes)
    if penalty is None:
        parts = [
            tuple((standard[rows], labels[rows], take(weights, rows)) for rows in pair)
            for pair in choose_rows(len(labels), seed)
        ]
        penalty, start = choose_penalty(parts, start, len(labels))
    found = _minimize(standard, labels, start, penalty, weights=weights)
    return fold_scaling(found[:-1], found[-1], mean, scale, penalty)


def find_fixed_penalty(count: int, classes: int) -> float | None:
    """Return the penalty if there are too few images to choose one; None if there are enough."""
    return _FEW_PENALTY if count < _MIN_PER_CLASS * classes else None


# The penalty path. A strong penalty makes a problem that is solved in a few iterations, and its
# solution is close to that of the next weaker penalty. So penalties are tried from the strongest
# on, and each solution starts where the previous one ended. The path ends as soon as the held-out
# loss has risen by 5 % over its lowest value: weaker penalties overfit more and need the most
# iterations. The loss is a mean over images, so a penalty has the same effect for any number of
# images; but more images need less of it, in proportion.
def choose_penalty(
    parts: Sequence[tuple[Samples, ...]], start: np.ndarray, count: int
) -> tuple[float, np.ndarray]:
    """Return the penalty with the lowest loss on held-out images, and a solution to start from.

    Args:
        parts: For each pair of `choose_rows`, the images to fit and the held-out images, with
            standardised features.
        start: The weights to start from, `(features + 1, classes)`.
        count: The number of images that the head will be solved for.
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
    """Return the weights that minimise loss plus penalty, with the bias in the last row."""
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
    """Return the weights that minimise loss plus penalty, with the bias in the last row.

    Args:
        add_up: Yields the results of `measure_errors`, which together cover all images.
        start: The weights to start from, `(features + 1, classes)`.
        penalty: L2 penalty per image.
        count: The number of images.
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


# BLAS is slow at products of a tall matrix with one of few columns. On two cores, one thread per
# block took half of BLAS' time. For a single block, one thread is faster than two that wait for
# each other: it took a fifth of their time, or a twentieth beside another program. Neither the
# blocks nor the sums depend on the number of cores.
@contextmanager
def _map_blocks(*, in_threads: bool, by_one_core: bool) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a function like `map` that applies a function to blocks, in threads if wanted.

    Args:
        in_threads: Whether to use a thread for each core; BLAS then uses one core in each.
        by_one_core: Whether BLAS uses a single core if there are no threads.
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
    """Return the controller of BLAS' threads; finding its libraries takes milliseconds."""
    return ThreadpoolController()
