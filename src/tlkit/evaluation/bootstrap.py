"""Bootstrap intervals of an evaluation's metrics: how far chance in the test images moves them.

The percentile bootstrap draws as many images as there are, with replacement, and measures that
resample; the interval spans the middle 95 % of 1,000 such measurements. Loss and calibration error
draw from all images. Metrics that are means over classes draw within each class, so that every
resample has every class as often as the test set: drawn from all images, a small class would be
missing from some resamples, whose mean over fewer classes can be far off. SciPy's bootstrap has no
such draws.
"""

import numpy as np

from tlkit.evaluation.reliability import divide_into_bins, mean_distance

_NUM_RESAMPLES = 1000
_BATCH = 50  # resamples at a time, to bound the memory


def intervals(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric, by its name."""
    random = np.random.default_rng(0)
    batches = [
        {
            **_resample_images(labels, probabilities, random),
            **_resample_within_classes(labels, probabilities, random),
        }
        for _ in range(_NUM_RESAMPLES // _BATCH)
    ]
    return {
        name: tuple(
            np.percentile(np.concatenate([batch[name] for batch in batches]), [2.5, 97.5]).tolist()
        )
        for name in batches[0]
    }


def mean_over_classes(
    correct: np.ndarray, support: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced accuracy and macro F1 of several outcomes on the same images.

    As in scikit-learn, the first leaves out classes without images, the second those that were not
    predicted either.

    Args:
        correct: Images of each class that were classified correctly, `(outcomes, classes)`.
        support: Images of each class, `(classes,)`.
        predicted: Images predicted as each class, `(outcomes, classes)`.
    """
    recall = correct / np.maximum(support, 1)
    f1 = 2 * correct / np.maximum(support + predicted, 1)
    defined = (support > 0) | (predicted > 0).any(axis=0)
    return recall[:, support > 0].mean(axis=1), f1[:, defined].mean(axis=1)


def _resample_images(
    labels: np.ndarray, probabilities: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return loss and calibration error of a batch of resamples of all images."""
    count = len(labels)
    losses = -np.log(np.maximum(probabilities[np.arange(count), labels], np.finfo("float64").eps))
    drawn = random.integers(0, count, (_BATCH, count))
    confidence = probabilities.max(axis=1).astype("float64")
    correct = (probabilities.argmax(axis=1) == labels).astype("float64")
    errors = [mean_distance(divide_into_bins(confidence[rows], correct[rows])) for rows in drawn]
    return {"loss": losses[drawn].mean(axis=1), "calibration_error": np.array(errors)}


# All resamples of a batch are drawn at once. In the order of the labels, the images of a class are
# adjacent: where the class starts, plus a random number below its size, is the position of one of
# them. So each image is replaced by a random one of its class. A single `bincount` counts the
# predictions of all resamples, because resample i numbers its classes from i * classes on.
def _resample_within_classes(
    labels: np.ndarray, probabilities: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return balanced accuracy and macro F1 of a batch of resamples within each class."""
    classes = probabilities.shape[1]
    order = np.argsort(labels, kind="stable")
    truth, support = labels[order], np.bincount(labels, minlength=classes)
    start = (np.cumsum(support) - support)[truth]
    offset = (random.random((_BATCH, len(labels))) * support[truth]).astype("int64")
    drawn = probabilities.argmax(axis=1)[order[start + offset]]
    numbered = classes * np.arange(_BATCH)[:, None] + drawn
    correct = np.bincount(numbered[drawn == truth], minlength=classes * _BATCH)
    predicted = np.bincount(numbered.ravel(), minlength=classes * _BATCH)
    balanced_accuracy, macro_f1 = mean_over_classes(
        correct.reshape(_BATCH, classes), support, predicted.reshape(_BATCH, classes)
    )
    return {"balanced_accuracy": balanced_accuracy, "macro_f1": macro_f1}
