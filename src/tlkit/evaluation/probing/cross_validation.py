"""What a linear head gets from features, scored on images that it was not fitted to."""

from collections.abc import Sequence

import numpy as np

from tlkit.training import solvers
from tlkit.training.linear import PENALTIES, Moments

FOLDS = 5
ALWAYS, VALIDATION = -1, -2
MOST_SCORED = 5000
_ENOUGH = 2000  # images of which a fifth is enough to score on
_PENALTY = 1e-3  # what is chosen for a few thousand images, most often


class Fit:
    """Takes one place's features, and says what a head fitted to them gets on other images.

    Images are dealt into folds; each fold is scored by a head that was fitted to all the others.
    A fold of -1 is fitted to always, one of -2 scored by a head fitted to all folds.
    """

    def __init__(self, size: int, classes: int, solver: str) -> None:
        self._size, self._classes, self._solver = size, classes, solver
        self._moments: dict[int, Moments] = {}
        self._kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._fitted: dict[int, int] = {}

    def add(self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> None:
        """Take the features `(count, size)`, the class index and the fold of some images."""
        room = MOST_SCORED - sum(len(part[1]) for part in self._kept)
        if self._solver != "ridge":
            self._kept.append((features, labels, folds))
        elif room > 0:
            mine = (folds != ALWAYS).nonzero()[0][:room]
            self._kept.append((features[mine], labels[mine], folds[mine]))
        for fold in np.unique(folds[folds != VALIDATION]).tolist():
            mine = (folds == fold).nonzero()[0]
            self._fitted[fold] = self._fitted.get(fold, 0) + len(mine)
            if self._solver == "ridge":
                if fold not in self._moments:
                    self._moments[fold] = Moments(self._size, self._classes)
                self._moments[fold].add(features[mine], labels[mine])

    @property
    def counts(self) -> tuple[int, int]:
        """How many images heads are fitted to, and how many they are scored on."""
        scored = sum(int((part[2] != ALWAYS).sum()) for part in self._kept)
        if self._solver != "ridge":
            folds = np.concatenate([part[2] for part in self._kept])
            scored = int(np.isin(folds, self._scored_folds(folds)).sum())
        return sum(self._fitted.values()), scored

    def accuracy(self) -> float:
        """Return the share of scored images that a head called rightly."""
        features, labels, folds = (np.concatenate(part) for part in zip(*self._kept, strict=True))
        if self._solver == "ridge":
            return self._by_ridge(features, labels, folds)
        right = []
        for fold in self._scored_folds(folds):
            held, fitted = folds == fold, (folds != fold) & (folds != VALIDATION)
            found = solvers.lbfgs(
                features[fitted], labels[fitted], classes=self._classes, penalty=_PENALTY
            )
            right.append(found.logits(features[held]).argmax(axis=1) == labels[held])
        return float(np.concatenate(right).mean())

    def _scored_folds(self, folds: np.ndarray) -> list[int]:
        """Return the folds to score: one is enough, and much faster, where it has many images."""
        there = [fold for fold in np.unique(folds).tolist() if fold != ALWAYS]
        many = len(folds) > _ENOUGH
        return there[:1] if many or VALIDATION in there else there

    def _by_ridge(self, features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> float:
        """Return the accuracy with the penalty that is best over all folds."""
        whole = Moments(self._size, self._classes)
        for moments in self._moments.values():
            whole = whole.plus(moments)
        right = np.zeros(len(PENALTIES))
        for fold in np.unique(folds).tolist():
            held = folds == fold
            rest = whole.without(self._moments[fold]) if fold in self._moments else whole
            right += [
                (linear.logits(features[held]).argmax(axis=1) == labels[held]).sum()
                for linear in rest.solve()
            ]
        return float(right.max() / len(labels))


def joint_accuracy(fits: Sequence[Fit]) -> float:
    """Return what ridge regression gets from several readings of the images that were kept."""
    parts = [[np.concatenate(part) for part in zip(*fit._kept, strict=True)] for fit in fits]
    features = np.concatenate([part[0] for part in parts], axis=1)
    _, labels, folds = parts[0]
    joint = Fit(features.shape[1], fits[0]._classes, "ridge")
    joint.add(features, labels, folds % FOLDS)
    return joint.accuracy()
