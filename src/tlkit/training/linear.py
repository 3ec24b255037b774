"""A linear classifier of features, and ridge regression from sums over images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.linalg import cho_solve
from scipy.special import expit, logsumexp

_BLOCK = 4096  # images
_MAX_PRODUCT = 1000  # classes; sums of more are faster by class than by a matrix product
_SUMS = ("count", "_products", "_targets", "_sums", "_class_counts")


class Features(Protocol):
    """An array `(count, size)` of features, or an object that reads its rows from a disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of images, and the number of features."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """Return some rows, by a slice or by their indices."""


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The L2 penalties to choose from: factors of the squared weights, beside a mean loss per image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """A linear classifier of raw features: `softmax(features @ kernel + bias)`, or a sigmoid.

    As in all of this package, labels are class indices `(count,)`, or for multi-label rows of 0 and
    1, `(count, classes)`.

    Attributes:
        kernel: `(features, classes)`.
        bias: `(classes,)`.
        penalty: The L2 penalty on the weights of standardised features.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the logits, `(count, classes)`.

        Args:
            features: `(count, features)`.
        """
        return np.asarray(features @ self.kernel + self.bias)

    def accuracy(self, features: Features, labels: np.ndarray) -> float:
        """Return the share of correctly classified images, or for multi-label of single labels."""

        def measure(logits: np.ndarray, labels: np.ndarray) -> float:
            predicted = logits > 0 if labels.ndim == 2 else logits.argmax(axis=1)
            return float((predicted == labels).mean())

        return self._average(measure, features, labels)

    def loss(self, features: Features, labels: np.ndarray) -> float:
        """Return the mean cross-entropy, in nats."""
        return self._average(cross_entropy, features, labels)

    def _average(
        self,
        measure: Callable[[np.ndarray, np.ndarray], float],
        features: Features,
        labels: np.ndarray,
    ) -> float:
        """Return the mean of a measure over all images, reading one block at a time."""
        total = 0.0
        for block in blocks(len(labels)):
            total += measure(self.logits(features[block]), labels[block]) * len(labels[block])
        return total / len(labels)


class Moments:
    """The sums over images that ridge regression needs, added up batch by batch.

    Args:
        size: The number of features of an image.
        classes: The number of classes.
    """

    def __init__(self, size: int, classes: int) -> None:
        self.count: float = 0
        self._products = np.zeros((size, size))
        self._targets = np.zeros((size, classes))
        self._sums = np.zeros(size)
        self._class_counts = np.zeros(classes)

    def add(
        self, features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> None:
        """Add features `(count, size)` of images, their labels and weights `(count,)`."""
        weighted = features
        if weights is not None:
            weighted = features * weights[:, None].astype(features.dtype)
        self.count += len(features) if weights is None else float(weights.sum())
        self._products += features.T @ weighted
        self._sums += weighted.sum(axis=0, dtype="float64")
        if labels.ndim == 1 and self.classes > _MAX_PRODUCT:
            order = np.argsort(labels, kind="stable")
            present, starts = np.unique(labels[order], return_index=True)
            self._targets[:, present] += np.add.reduceat(weighted[order], starts, axis=0).T
            self._class_counts += np.bincount(labels, weights, minlength=self.classes)
            return
        targets = to_rows(labels, self.classes).astype(features.dtype)
        if weights is not None:
            targets = targets * weights[:, None].astype(features.dtype)
        self._targets += features.T @ targets
        self._class_counts += targets.sum(axis=0)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self._class_counts)

    @classmethod
    def from_arrays(cls, arrays: Sequence[np.ndarray]) -> "Moments":
        """Return an object with the sums that `arrays` returned."""
        found = cls(0, 0)
        for name, array in zip(_SUMS, arrays, strict=True):
            setattr(found, name, array)
        return found

    def arrays(self) -> list[np.ndarray]:
        """Return the sums as arrays."""
        return [np.asarray(getattr(self, name)) for name in _SUMS]

    def increase(self, other: "Moments") -> None:
        """Add the sums over other images."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def without(self, other: "Moments") -> "Moments":
        """Return the sums without those of some of the images."""
        rest = Moments(0, 0)
        for name in _SUMS:
            setattr(rest, name, getattr(self, name) - getattr(other, name))
        return rest

    def solve(self, penalties: Sequence[float] = PENALTIES) -> list[Linear]:
        """Return one ridge regression of rows of 0 and 1 on standardised features per penalty."""
        mean, shares = self._sums / self.count, self._class_counts / self.count
        covariance = self._products / self.count - np.outer(mean, mean)
        scale = divisors(np.sqrt(np.maximum(np.diag(covariance), 0)))
        covariance /= np.outer(scale, scale)
        targets = (self._targets / self.count - np.outer(mean, shares)) / scale[:, None]
        kernels = _solve_penalized(covariance, targets, penalties)
        return [
            fold_scaling(kernel, shares, mean, scale, penalty)
            for kernel, penalty in zip(kernels, penalties, strict=True)
        ]


def solve_dual(
    features: np.ndarray, labels: np.ndarray, classes: int, penalties: Sequence[float] = PENALTIES
) -> list[Linear]:
    """Return the result of `Moments.solve` for the same images, in less time if they are few.

    The weights are a linear combination of the images' features. So a system with one row for each
    image is solved instead of one with a row for each feature.

    Args:
        features: `(count, size)`.
        labels: Class indices, `(count,)`, or rows of 0 and 1.
        classes: The number of classes.
        penalties: As for `Moments.solve`.
    """
    wide = features.astype("float64")
    mean, rows = wide.mean(axis=0), to_rows(labels, classes).astype("float64")
    wide -= mean
    scale = divisors(np.sqrt((wide**2).mean(axis=0)))
    wide /= scale
    shares = rows.mean(axis=0)
    found = _solve_penalized(wide @ wide.T / len(wide), (rows - shares) / len(wide), penalties)
    return [
        fold_scaling(wide.T @ each, shares, mean, scale, penalty)
        for each, penalty in zip(found, penalties, strict=True)
    ]


def _solve_penalized(
    matrix: np.ndarray, targets: np.ndarray, penalties: Sequence[float]
) -> Iterator[np.ndarray]:
    """Yield for each penalty the solution of `(matrix + penalty * identity) @ x = targets`.

    Args:
        matrix: Symmetric and, except for rounding, positive; its diagonal is overwritten.
        targets: `(size, classes)`.
        penalties: Numbers above 0.
    """
    diagonal = np.diag(matrix).copy()
    for penalty in penalties:
        np.fill_diagonal(matrix, diagonal + penalty)
        try:  # half the work of a general solver; unlike SciPy's, NumPy's version releases the GIL
            factor = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:  # not positive, because of rounding
            yield np.linalg.solve(matrix, targets)
            continue
        yield cho_solve((factor.T, False), targets, check_finite=False)


def blocks(count: int) -> list[slice]:
    """Return slices that divide `count` images into blocks that fit into memory."""
    return [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]


def fold_scaling(
    kernel: np.ndarray, bias: np.ndarray, mean: np.ndarray, scale: np.ndarray, penalty: float
) -> Linear:
    """Return a classifier of raw features from weights of standardised features."""
    folded = kernel / scale[:, None]
    return Linear(
        kernel=folded.astype("float32"),
        bias=(bias - mean @ folded).astype("float32"),
        penalty=penalty,
    )


_PRIOR = 100  # images


def divisors(deviations: np.ndarray) -> np.ndarray:
    """Return the divisors of features; infinity for a constant feature, which is thus ignored."""
    return np.where(deviations > 1e-6 * max(deviations.max(initial=0), 1e-12), deviations, np.inf)


# With few images, a feature's deviation is uncertain: a feature that happens to be nearly constant
# would be amplified. So its variance is averaged with the mean variance of all features, as if that
# had been observed in 100 more images. With one photo per class this raised the accuracy from 31
# to 45 % (docs/decisions/0040-few-images.md); with thousands of images it has no effect.
def shrink_deviations(deviations: np.ndarray, count: int) -> np.ndarray:
    """Return the divisors of features, from their deviations over `count` images."""
    variances = deviations**2
    shrunk = (count * variances + _PRIOR * variances.mean()) / (count + _PRIOR)
    return np.where(np.isinf(divisors(deviations)), np.inf, np.sqrt(shrunk))


def to_rows(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return class indices as one-hot rows; rows of 0 and 1 are returned unchanged."""
    if labels.ndim == 2:
        return labels
    rows = np.zeros((len(labels), classes), "float32")
    rows[np.arange(len(labels)), labels] = 1
    return rows


def errors_and_losses(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each probability minus its label, and the losses of each image, not yet summed.

    Args:
        logits: `(count, classes)`; may be overwritten.
        labels: Class indices for softmax, or rows of 0 and 1 for a sigmoid of each logit.
    """
    if labels.ndim == 2:  # the loss of a label is log(1 + exp(logit)) - label * logit
        losses = np.logaddexp(0, logits) - labels * logits
        return expit(logits) - labels, losses
    rows = np.arange(len(labels))
    logits -= logits.max(axis=1, keepdims=True)
    correct = logits[rows, labels].astype("float64")
    errors = np.exp(logits, out=logits)
    totals = errors.sum(axis=1, keepdims=True)
    errors /= totals  # probabilities
    errors[rows, labels] -= 1
    return errors, np.log(totals[:, 0], dtype="float64") - correct


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Return the mean cross-entropy of the logits' softmax or sigmoid, in nats.

    Args:
        logits: `(count, classes)`.
        labels: Class indices for softmax, or rows of 0 and 1 for a sigmoid of each logit.
        weights: A weight for each image, `(count,)`, for class indices only.
    """
    if labels.ndim == 2:
        return float((np.logaddexp(0, logits) - labels * logits).mean(dtype="float64"))
    correct = logits[np.arange(len(labels)), labels]
    losses = logsumexp(logits, axis=1) - correct
    use = weights is not None and weights.any()  # all weights of a part can be 0
    return float(np.average(losses, weights=weights if use else None))
