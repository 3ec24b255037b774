"""How far chance moves the figures of a test: bootstrap intervals over its images."""

import numpy as np

from tlkit.evaluation.reliability import calibration_error

_RESAMPLES = 1000
_AT_ONCE = 50  # resamples; bounds the memory


def means(
    hit: np.ndarray, tested: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced accuracy and macro F1 of several outcomes on the same images.

    A class that no outcome has anything of is left out, as scikit-learn does.

    Args:
        hit: How many images of each class were found, `(outcomes, classes)`.
        tested: How many there are of each class, `(classes,)`.
        predicted: How many were predicted as each class, `(outcomes, classes)`.
    """
    recall = hit / np.maximum(tested, 1)
    f1 = 2 * hit / np.maximum(tested + predicted, 1)
    there = (tested > 0) | (predicted > 0).any(axis=0)
    return recall[:, tested > 0].mean(axis=1), f1[:, there].mean(axis=1)


def intervals(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return percentile intervals over resamples of the images, a few of them at a time."""
    random = np.random.default_rng(0)
    found = [
        {**_of_all(labels, probabilities, random), **_within_classes(labels, probabilities, random)}
        for _ in range(_RESAMPLES // _AT_ONCE)
    ]
    return {
        name: tuple(
            np.percentile(np.concatenate([each[name] for each in found]), [2.5, 97.5]).tolist()
        )
        for name in found[0]
    }


def _of_all(
    labels: np.ndarray, probabilities: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return loss and calibration error of some resamples of all images."""
    count = len(labels)
    losses = -np.log(np.maximum(probabilities[np.arange(count), labels], np.finfo("float64").eps))
    drawn = random.integers(0, count, (_AT_ONCE, count))
    errors = [calibration_error(probabilities[row], labels[row]) for row in drawn]
    return {"loss": losses[drawn].mean(axis=1), "calibration_error": np.array(errors)}


def _within_classes(
    labels: np.ndarray, probabilities: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the means over classes of some resamples, each of which has every class as often.

    Were the classes drawn with the images, a small one would be missing in some, and the mean
    there be one over fewer classes: of a constant classifier by far the better.
    """
    classes = probabilities.shape[1]
    order = np.argsort(labels, kind="stable")
    truth, tested = labels[order], np.bincount(labels, minlength=classes)
    start = (np.cumsum(tested) - tested)[truth]
    place = (random.random((_AT_ONCE, len(labels))) * tested[truth]).astype("int64")
    drawn = probabilities.argmax(axis=1)[order[start + place]]
    resample = classes * np.arange(_AT_ONCE)[:, None]
    size = classes * _AT_ONCE
    hit = np.bincount((resample + drawn)[drawn == truth], minlength=size)
    predicted = np.bincount((resample + drawn).ravel(), minlength=size)
    balanced, macro = means(
        hit.reshape(_AT_ONCE, classes), tested, predicted.reshape(_AT_ONCE, classes)
    )
    return {"balanced_accuracy": balanced, "macro_f1": macro}
