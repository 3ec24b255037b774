"""The accuracy of a linear head on images that it was not fitted to.

Every image belongs to a fold, and each fold is scored by a head that was fitted to all the others:
with five folds every image serves both to fit and to score, but never in the same head. With a
validation set, training images are marked `FIT_ONLY` and validation images `SCORE_ONLY` instead.

Ridge regression needs one pass and little memory. Its solution depends on the features only through
sums over images (`Moments`), which are kept for each fold: the head for a fold is solved from the
sums of all images minus those of the fold. The features themselves are kept only for the images to
score, at most `MAX_SCORED`. Logistic regression has no such sums, so the features of all images are
kept, and with more than 2,000 images only one fold is scored, which is precise enough.
"""

import math
from collections.abc import Sequence

import numpy as np

from tlkit.evaluation import multi_label
from tlkit.training import solvers
from tlkit.training.linear import PENALTIES, Moments

NUM_FOLDS = 5
FIT_ONLY, SCORE_ONLY = -1, -2
MAX_SCORED = 5000
_MAX_ALL_FOLDS = 2000  # images, above which logistic regression scores one fold alone
_PENALTY = 1e-3  # the penalty chosen most often for a few thousand images


class CrossValidation:
    """The features of one site, collected in batches, and the accuracy of heads fitted to them."""

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
        if room > 0:
            scored = np.flatnonzero(folds != FIT_ONLY)[:room]
            self._kept.append((features[scored], labels[scored], folds[scored]))
        for fold in np.unique(folds[folds != SCORE_ONLY]).tolist():
            inside = folds == fold
            if fold not in self._moments:
                self._moments[fold] = Moments(self._num_features, self._num_classes)
            self._moments[fold].add(features[inside], labels[inside])

    @property
    def counts(self) -> tuple[int, int]:
        """How many images heads are fitted to, and how many they are scored on."""
        _, _, folds = self._concatenate()
        return self._num_fitted, int(np.isin(folds, self._scored_folds(folds)).sum())

    def accuracy(self) -> float:
        """Return the share of the scored images that are classified correctly.

        For multi-label, it is the mean average precision.
        """
        self._score(quick=False)
        if self.truth.ndim == 2:
            return solvers.score(self.truth, self.logits)
        return float(self._is_correct.mean())

    def standard_error(self, accuracy: float) -> float:
        """Return the standard error of an accuracy on the scored images.

        For multi-label, that of the mean average precision that `accuracy` returned last.
        """
        if self.truth.ndim == 2:
            return multi_label.precision_error(self.truth, self.logits)
        return math.sqrt(accuracy * (1 - accuracy) / len(self.truth))

    def correct(self, *, quick: bool = False) -> np.ndarray:
        """Return of each scored image whether it is classified correctly.

        With "ridge" they are in the order in which they were added, otherwise sorted by fold.

        Args:
            quick: Whether ridge regression tries all penalties on one fold only, and the best of
                these on the others, which takes a third of the time.
        """
        self._score(quick=quick)
        return self._is_correct

    # A site of 1,000 classes has 20 MB of logits, and there are dozens of sites: only what is asked
    # for later is kept.
    def _score(self, *, quick: bool) -> None:
        """Set labels of the scored images and how heads not fitted to them classify them."""
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
        features, labels, folds = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        return features, labels, folds

    def _scored_folds(self, folds: np.ndarray) -> list[int]:
        found: list[int] = np.unique(folds[folds != FIT_ONLY]).tolist()
        if self._solver == "ridge":
            return found
        return found[:1] if SCORE_ONLY in found or len(folds) > _MAX_ALL_FOLDS else found

    def _ridge_logits(
        self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray, *, quick: bool
    ) -> np.ndarray:
        """Return logits with the penalty that is best over all folds, or over one."""
        total = Moments(self._num_features, self._num_classes)
        for moments in self._moments.values():
            total = total.plus(moments)
        penalties: Sequence[float] = PENALTIES
        logits = np.empty((len(penalties), len(labels), self._num_classes), "float32")
        for fold in np.unique(folds).tolist():
            held_out = folds == fold
            others = total.without(self._moments[fold]) if fold in self._moments else total
            found = [linear.logits(features[held_out]) for linear in others.solve(penalties)]
            logits[:, held_out] = found
            if quick and len(penalties) > 1:
                scores = [solvers.score(labels[held_out], each) for each in found]
                chosen = int(np.argmax(scores))
                penalties, logits = penalties[chosen : chosen + 1], logits[chosen : chosen + 1]
        return np.asarray(max(logits, key=lambda each: solvers.score(labels, each)))


def joint_accuracy(sites: Sequence[CrossValidation]) -> float:
    """Return the accuracy of ridge regression on the features of several sites together.

    It is computed on the images whose features were kept.
    """
    parts = [site._concatenate() for site in sites]
    features = np.concatenate([part[0] for part in parts], axis=1)
    _, labels, folds = parts[0]
    joint = CrossValidation(features.shape[1], sites[0]._num_classes, "ridge")
    joint.add(features, labels, folds)
    return joint.accuracy()
