"""Bootstrap intervals of an evaluation's metrics: how they vary with the choice of test images.

The percentile bootstrap draws as many images as the test set has, with replacement, and computes
the metrics of this resample; the interval spans the middle 95 % of 1,000 such values. Loss and
calibration error draw from all images. Metrics that are means over classes draw within each class,
so that every resample has as many images of each class as the test set. Otherwise a small class
would be missing from some resamples, and their mean over fewer classes could be far off. SciPy's
bootstrap cannot draw within classes.
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
    """Return balanced accuracy and macro F1 for several sets of predictions of the same images.

    As in scikit-learn, balanced accuracy leaves out classes without images, and macro F1 leaves out
    classes that have no images and were not predicted.

    Args:
        correct: Images of each class that were classified correctly, `(sets, classes)`.
        support: Images of each class, `(classes,)`.
        predicted: Images predicted as each class, `(sets, classes)`.
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


# All resamples of a batch are drawn at once. Sorted by label, the images of a class are adjacent:
# the position where the class starts, plus a random number below the size of the class, is the
# position of one of its images. So each image is replaced by a random image of its class. One
# `bincount` counts the predictions of all resamples, because the classes of resample i are numbered
# from i * classes.
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
