"""The accuracy of a linear head on images that it was not fitted to.

Every image belongs to a fold, and each fold is scored by a head that was fitted to all the others:
with five folds every image is used both to fit and to score, but never with the same head. With a
validation set, training images are marked `FIT_ONLY` and validation images `SCORE_ONLY` instead.

Ridge regression needs one pass over the images and little memory. Its solution depends on the
features only through sums over images (`Moments`): the head for a fold is solved from the sums of
all images minus those of the fold. The features themselves are stored only for the images to score,
at most `MAX_SCORED`. The sums of these images are computed once, when they are scored, because
updating them with every batch would move much more memory. Logistic regression has no such sums, so
the features of all images are stored, and with more than 2,000 images only one fold is scored,
which is precise enough.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # of scikit-learn

from tlkit._internal import system
from tlkit.evaluation import multi_label
from tlkit.training import solvers, temperature
from tlkit.training.linear import PENALTIES, Linear, Moments, solve_dual

Item = TypeVar("Item")
Result = TypeVar("Result")

NUM_FOLDS = 5
FIT_ONLY, SCORE_ONLY = -1, -2
MAX_SCORED = 5000
_MAX_ALL_FOLDS = 2000  # images, above which logistic regression scores one fold alone
_MAX_DUAL = 0.8  # images per feature; with more, the system of equations of features is smaller
_CHANCE = 3.0  # standard deviations
_PENALTY = 1e-3  # the penalty that is best most often for a few thousand images


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """How well heads predict images that they were not fitted to.

    Attributes:
        accuracy: The share of images that is classified correctly; for multi-label, the mean
            average precision.
        losses: The cross-entropy of each image in nats, at the temperature that is best for all of
            them; empty for multi-label.
    """

    accuracy: float
    losses: np.ndarray

    @property
    def loss(self) -> float:
        """The mean loss; NaN for multi-label."""
        return float(self.losses.mean()) if len(self.losses) else math.nan

    def improves(self, other: "Score") -> bool:
        """Return whether the loss is lower by more than a standard error of the difference."""
        return other.loss - self.loss > self.difference_error(other)

    def difference_error(self, other: "Score") -> float:
        """Return the standard error of the difference of two losses on the same images."""
        differences = other.losses - self.losses
        if not len(differences):
            return math.nan
        return float(differences.std()) / math.sqrt(len(differences))


class CrossValidation:
    """The features of one site, added in batches, and the scores of heads fitted to them."""

    def __init__(self, num_features: int, num_classes: int, solver: str) -> None:
        self._num_features, self._num_classes = num_features, num_classes
        self._solver = solver
        self._moments: dict[int, Moments] = {}
        self._kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._num_fitted = 0

    def add(self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> None:
        """Add some images.

        Args:
            features: `(count, num_features)`.
            labels: The class index of each image; for multi-label, rows of 0 and 1.
            folds: The fold of each image, or `FIT_ONLY` or `SCORE_ONLY`.
        """
        self._num_fitted += int((folds != SCORE_ONLY).sum())
        if self._solver != "ridge":
            self._kept.append((features, labels, folds))
            return
        room = MAX_SCORED - sum(len(labels) for _, labels, _ in self._kept)
        scored = np.flatnonzero(folds != FIT_ONLY)[:room]
        self._kept.append((features[scored], labels[scored], folds[scored]))
        rest = np.delete(np.arange(len(labels)), scored)
        for fold in np.unique(folds[rest][folds[rest] != SCORE_ONLY]).tolist():
            inside = rest[folds[rest] == fold]
            if fold not in self._moments:
                self._moments[fold] = Moments(self._num_features, self._num_classes)
            self._moments[fold].add(features[inside], labels[inside])

    @property
    def counts(self) -> tuple[int, int]:
        """How many images heads are fitted to, and how many they are scored on."""
        _, _, folds = self._concatenate()
        return self._num_fitted, int(np.isin(folds, self._scored_folds(folds)).sum())

    @property
    def is_multi_label(self) -> bool:
        """Whether an image can have several classes."""
        return self._kept[0][1].ndim == 2

    def arrays(self) -> list[np.ndarray]:
        """Return arrays of all values that determine the accuracy."""
        settings = f"{self._solver} {self._num_classes} {self._num_fitted}".encode()
        found = [np.frombuffer(settings, "uint8"), *self._concatenate()]
        for fold in sorted(self._moments):
            found += [np.array([fold]), *self._moments[fold].arrays()]
        return found

    def measure(self) -> Score:
        """Return the score on the scored images."""
        logits = self._score(quick=False)
        if self.truth.ndim == 2:
            return Score(accuracy=solvers.score(self.truth, logits), losses=np.empty(0, "float32"))
        losses = calibrated_losses(logits, self.truth).astype("float32")
        return Score(accuracy=float(self._is_correct.mean()), losses=losses)

    def standard_error(self, accuracy: float) -> float:
        """Return the standard error of an accuracy on the scored images.

        For multi-label, that of the mean average precision that `measure` returned last.
        """
        if self.is_multi_label:
            return multi_label.precision_error(self.truth, self.logits)
        _, num_scored = self.counts
        return math.sqrt(accuracy * (1 - accuracy) / num_scored)

    def correct(self, *, quick: bool = False) -> np.ndarray:
        """Return for each scored image whether it is classified correctly.

        With "ridge" the images are in the order in which they were added, otherwise by fold.

        Args:
            quick: Whether ridge regression tries all penalties on one fold only, and the best of
                these on the others, which takes a third of the time.
        """
        self._score(quick=quick)
        return self._is_correct

    # A site of 1,000 classes has 20 MB of logits, and there are dozens of sites: only arrays that
    # are needed later are stored.
    def _score(self, *, quick: bool) -> np.ndarray:
        """Classify the scored images by heads not fitted to them, and store the results.

        Returns:
            The logits of these images.
        """
        features, labels, folds = self._concatenate()
        if self._solver == "ridge":
            logits = self._ridge_logits(features, labels, folds, quick=quick)
        else:
            labels, logits = self._lbfgs_logits(features, labels, folds)
        self.truth = labels
        if labels.ndim == 2:
            self.logits = logits.copy()  # not the logits of all penalties
        else:
            self._is_correct = np.asarray(logits.argmax(axis=1) == labels)
        return logits

    def _lbfgs_logits(
        self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and logits of the scored images, by heads not fitted to them."""
        truth, logits = [], []
        for fold in self._scored_folds(folds):
            held_out, fitted = folds == fold, (folds != fold) & (folds != SCORE_ONLY)
            linear = solvers.lbfgs(
                features[fitted], labels[fitted], classes=self._num_classes, penalty=_PENALTY
            )
            truth.append(labels[held_out])
            logits.append(linear.logits(features[held_out]))
        return np.concatenate(truth), np.concatenate(logits)

    def _concatenate(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if len(self._kept) > 1:  # replaced by one array: dozens of sites are in memory together
            features, labels, folds = map(np.concatenate, zip(*self._kept, strict=True))
            self._kept = [(features, labels, folds)]
        return self._kept[0]

    def _scored_folds(self, folds: np.ndarray) -> list[int]:
        found: list[int] = np.unique(folds[folds != FIT_ONLY]).tolist()
        if self._solver == "ridge":
            return found
        return found[:1] if SCORE_ONLY in found or len(folds) > _MAX_ALL_FOLDS else found

    # A penalty is dropped after a fold if it is worse than the best one by more than chance allows
    # on the images so far: on average two or three of five penalties are left.
    def _ridge_logits(
        self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray, *, quick: bool
    ) -> np.ndarray:
        """Return logits with the penalty that is best over all folds; if `quick`, over one."""
        solve = self._solver_of_folds(features, labels, folds)
        penalties = np.array(PENALTIES)
        logits = np.empty((len(penalties), len(labels), self._num_classes), "float32")
        seen = np.zeros(len(labels), bool)
        for fold in np.unique(folds).tolist():
            held_out = folds == fold
            logits[:, held_out] = [
                linear.logits(features[held_out]) for linear in solve(fold, penalties.tolist())
            ]
            seen |= held_out
            left = _best_penalties(logits[:, seen], labels[seen], quick=quick)
            penalties, logits = penalties[left], logits[left]
        return np.asarray(max(logits, key=lambda each: solvers.score(labels, each)))

    def _solver_of_folds(
        self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray
    ) -> Callable[[int, Sequence[float]], list[Linear]]:
        """Return a function that fits heads to all images but those of a fold."""
        size, classes = self._num_features, self._num_classes
        if not self._moments and len(labels) < _MAX_DUAL * size:

            def solve_few(fold: int, penalties: Sequence[float]) -> list[Linear]:
                fitted = (folds != fold) & (folds != SCORE_ONLY)
                return solve_dual(features[fitted], labels[fitted], classes, penalties)

            return solve_few
        moments = {
            fold: Moments(size, classes) for fold in {*np.unique(folds).tolist(), *self._moments}
        }
        total = Moments(size, classes)
        for fold, each in moments.items():
            if fold != SCORE_ONLY:
                each.add(features[folds == fold], labels[folds == fold])
            if fold in self._moments:
                each.increase(self._moments[fold])
            total.increase(each)
        return lambda fold, penalties: total.without(moments[fold]).solve(penalties)


def _best_penalties(logits: np.ndarray, labels: np.ndarray, *, quick: bool) -> np.ndarray:
    """Return the indices of the penalties that may be the best over all folds.

    Args:
        logits: `(penalties, count, classes)`, of images that were not fitted to.
        labels: Their labels.
        quick: Whether to return only the best so far.
    """
    scores = np.array([solvers.score(labels, each) for each in logits])
    best = int(scores.argmax())
    if quick:
        return np.array([best])
    if labels.ndim == 2:
        return np.arange(len(logits))
    correct = logits.argmax(axis=2) == labels
    differences = (correct[best] != correct).sum(axis=1)  # images that only one of both has right
    behind = correct[best].sum() - correct.sum(axis=1)
    return np.flatnonzero(behind <= _CHANCE * np.sqrt(differences))


def map_sites(
    function: Callable[[Item], Result],
    sites: Sequence[Item],
    *,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> list[Result]:
    """Return the function's result for each site, computed on all cores.

    Each core solves for another site. This is faster than several threads for each site, above all
    while other programs use the cores, because the threads of OpenBLAS wait for each other.

    Args:
        function: Is called with each site, in several threads.
        sites: The sites.
        on_done: Is called after each site with the number done, and of all sites.
    """
    with (
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(system.count_cores(), thread_name_prefix="tlkit-probe") as pool,
    ):
        found = []
        for result in pool.map(function, sites):
            found.append(result)
            on_done(len(found), len(sites))
        return found


def measure_joint(sites: Sequence[CrossValidation]) -> Score:
    """Return the score of ridge regression on the joined features of several sites.

    It is computed on the images whose features are stored.
    """
    parts = [site._concatenate() for site in sites]
    features = np.concatenate([part[0] for part in parts], axis=1)
    _, labels, folds = parts[0]
    joint = CrossValidation(features.shape[1], sites[0]._num_classes, "ridge")
    joint.add(features, labels, folds)
    return joint.measure()


def calibrated_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each image, at the temperature with the lowest mean.

    Outputs of ridge regression are not logits: they become probabilities only by a temperature of
    their own, so that sites can be compared.

    Args:
        logits: `(count, classes)`, of images that the head was not fitted to.
        labels: Class indices, `(count,)`.
    """
    smoothing = 1 / (len(labels) + 2)  # Platt's, or the best temperature of no error would be 0
    scaled = logits / temperature.fit_temperature(logits, labels, smoothing=smoothing)
    return np.asarray(logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels])
