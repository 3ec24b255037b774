"""Choose the images of a multi-label test to draw: those with wrong classes, or some per class."""

from dataclasses import dataclass
from typing import Any

import numpy as np

_MIN_PROBABILITY = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelErrors:
    """Which classes of a multi-label prediction are wrong.

    Attributes:
        predicted: Whether each class of each image was predicted, `(count, classes)`.
        wrong: Whether this prediction is wrong, `(count, classes)`.
        margin: How far the probability is from its threshold, `(count, classes)`.
        loss: The cross-entropy of each image in nats, `(count,)`.
    """

    predicted: np.ndarray
    wrong: np.ndarray
    margin: np.ndarray
    loss: np.ndarray

    @classmethod
    def find(
        cls, truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray
    ) -> "LabelErrors":
        """Return the errors, from rows of 0 and 1 and the probabilities of the same images."""
        predicted = probabilities >= thresholds
        right = np.where(truth == 1, probabilities, 1 - probabilities)
        return cls(
            predicted=predicted,
            wrong=predicted != (truth == 1),
            margin=np.abs(probabilities - thresholds),
            loss=-np.log(np.maximum(right, _MIN_PROBABILITY)).mean(axis=1),
        )


def choose_images(
    truth: np.ndarray, errors: LabelErrors | None, *, count: int, which: str, seed: int
) -> np.ndarray:
    """Return the indices of the images to draw, as `prediction_grid` describes them.

    Args:
        truth: Rows of 0 and 1, `(count, classes)`.
        errors: The errors; needed for "confident", "worst" and "wrong".
        count: The maximum number of images.
        which: One of `tlkit.plotting.image_grids.Choice`.
        seed: The seed of a random choice.
    """
    shuffled = np.random.default_rng(seed).permutation(len(truth))
    if which == "per_class":
        classes = np.flatnonzero(truth.any(axis=0))
        each = max(count // max(len(classes), 1), 1)
        chosen = [shuffled[truth[shuffled, index] == 1][:each] for index in classes]
        return np.unique(np.concatenate(chosen)) if chosen else shuffled[:0]
    if which == "random" or errors is None:
        return shuffled[:count]
    if which == "worst":
        return np.asarray(np.argsort(-errors.loss, kind="stable")[:count])
    if which == "wrong":
        return shuffled[errors.wrong[shuffled].any(axis=1)][:count]
    furthest = np.where(errors.wrong, errors.margin, -1).max(axis=1)
    order = np.argsort(-furthest, kind="stable")
    return np.asarray(order[furthest[order] >= 0][:count])


def choose_predictions(
    errors: LabelErrors, probabilities: np.ndarray, *, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return images, and for each image a predicted class: half of these classes are wrong.

    The wrong classes are the most probable ones, each of another image. The correct classes are a
    random choice that covers as many classes as possible. If no class was predicted, the first
    images are returned with their most probable class.

    Args:
        errors: The predicted classes, and which of them are wrong.
        probabilities: `(count, classes)`.
        count: How many images.
        seed: The seed of the random choice.
    """
    extra = np.argwhere(errors.predicted & errors.wrong)
    extra = extra[np.argsort(-probabilities[tuple(extra.T)], kind="stable")]
    _, first = np.unique(extra[:, 0], return_index=True)
    extra = extra[np.sort(first)]
    right = np.argwhere(errors.predicted & ~errors.wrong)
    right = np.random.default_rng(seed).permutation(right)
    turn = np.array([(right[:at, 1] == each[1]).sum() for at, each in enumerate(right[:1000])], int)
    right = right[np.argsort(turn, kind="stable")]
    extra = extra[: max(count // 2, count - len(right))]
    pairs: Any = np.concatenate([extra, right[: count - len(extra)]])
    if not len(pairs):
        indices = np.arange(min(count, len(probabilities)))
        return indices, probabilities[indices].argmax(axis=1)
    return pairs[:, 0], pairs[:, 1]
