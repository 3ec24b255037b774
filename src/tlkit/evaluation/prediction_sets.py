"""Sets of classes that contain the true one with a promised probability: conformal prediction."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from scipy.stats import beta

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import plural, show
from tlkit.data.unlabelled import Images
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.evaluation.evaluator import predict
from tlkit.evaluation.metrics import Evaluation
from tlkit.models.inspection import probabilities_of

KEY = "set_scores"  # in the model's file
FEW_CALIBRATED = 1000
"""With fewer validation images, the coverage after one calibration varies much."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSets:
    """Prediction sets of test images.

    Attributes:
        coverage: The coverage that was promised.
        measured: The share of the images whose set contains their class.
        mean_size: The mean number of classes in a set.
        num_calibrated: How many validation images the sets were calibrated on.
    """

    coverage: float
    measured: float
    mean_size: float
    num_calibrated: int

    @property
    def coverage_range(self) -> tuple[float, float]:
        """The lowest and the highest coverage of 95 % of calibrations on as many images."""
        return find_coverage_range(self.num_calibrated, self.coverage)

    @property
    def is_uncertain(self) -> bool:
        """Whether so few images were used that the coverage may be far from the promise."""
        return self.num_calibrated < FEW_CALIBRATED


# The threshold is the score of rank k of n validation images (see `find_threshold`). The coverage
# of new images depends on which images these n are. If no two scores are equal, its distribution
# over choices of them is Beta(k, n + 1 - k), whose mean k / (n + 1) is at least the promise.
@check_arguments
def find_coverage_range(num_calibrated: int, coverage: float) -> tuple[float, float]:
    """Return the coverage on new images that 95 % of calibrations on as many images reach.

    A promised coverage is a mean over all choices of the validation images. After a calibration on
    a certain choice, the coverage is higher or lower: Vovk, 2012 (arXiv:1209.2673); Angelopoulos
    and Bates, 2021 (arXiv:2107.07511, section 3.2). Sets of `predict_sets` contain the most
    probable class too, so that their coverage is never below the accuracy.

    Args:
        num_calibrated: The number of validation images.
        coverage: The share of images to promise, 0 < coverage < 1.

    Raises:
        ConfigError: The coverage is not between 0 and 1.
        DataError: There are too few validation images for this coverage.

    Examples:
        >>> [round(share, 2) for share in find_coverage_range(28, 0.9)]
        [0.82, 0.99]
        >>> [round(share, 2) for share in find_coverage_range(1000, 0.9)]
        [0.88, 0.92]
    """
    rank = _find_rank(num_calibrated, coverage)
    low, high = beta.ppf([0.025, 0.975], rank, num_calibrated + 1 - rank)
    return float(low), float(high)


@check_arguments
def predict_sets(
    model: keras.Model, images: Images, *, coverage: float = 0.9, **settings: Any
) -> np.ndarray:
    """Return which classes are in the prediction set of each image, as booleans `(count, classes)`.

    For images like the validation images, the set contains the true class for a share of at least
    `coverage`, however good the classifier is: split conformal prediction with the least ambiguous
    sets (Sadinle et al., 2019, arXiv:1609.00451). This holds on average over all images; for a
    single class the share can be lower. It holds on average over choices of the validation images
    too: `find_coverage_range` says by how much the coverage varies. The set always contains the
    most probable class.

    Args:
        model: A classifier after `tlkit.calibrate`, which stores scores of the validation images.
        images: As for `tlkit.predict`.
        coverage: The share of images to promise, 0 < coverage < 1.
        settings: Other arguments of `tlkit.predict`.

    Raises:
        ConfigError: The coverage is wrong, or the model is not calibrated.
        DataError: There were too few validation images for this coverage.

    Examples:
        >>> from tlkit import build_classifier, calibrate
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), input_shape=(8, 8, 3))
        >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), "uint8")
        >>> found = calibrate(model, (images, np.arange(20) % 2))
        >>> predict_sets(model, images, coverage=0.9).shape
        (20, 2)
    """
    threshold = find_threshold(scores_of(model), coverage)
    return select_classes(predict(model, images, **settings), threshold)


def describe_range(model: keras.Model, coverage: float) -> str | None:
    """Return by how much the coverage may differ from the promise; None after many images.

    Args:
        model: A calibrated classifier.
        coverage: The share of images to promise, 0 < coverage < 1.

    Raises:
        ConfigError: The coverage is wrong, or the model is not calibrated.
        DataError: There were too few validation images for this coverage.
    """
    count = len(scores_of(model))
    low, high = find_coverage_range(count, coverage)
    if count >= FEW_CALIBRATED:
        return None
    return (
        f"prediction sets were calibrated on {plural(count, 'validation image')}: for 95 % of such "
        f"calibrations, they contain the true class of {100 * low:.1f} to {100 * high:.1f} % of "
        "new images, or of more if more are classified correctly"
    )


def scores_of(model: keras.Model) -> np.ndarray:
    """Return one minus the probability of the true class of each validation image.

    Raises:
        ConfigError: The model is not calibrated, or multi-label.
    """
    layer = probabilities_of(model)
    if getattr(layer, "multi_label", False):
        raise ConfigError(
            "`model` must have classes that exclude each other to have prediction sets, got a "
            "multi-label classifier."
        )
    if KEY not in layer.stored:
        raise ConfigError(
            "`model` must be calibrated to have prediction sets. Call tlkit.calibrate(model, "
            "validation_data), or train with validation images (tlkit train --validation 0.1); a "
            "saved model keeps it."
        )
    return layer.stored[KEY]


# Split conformal prediction: if validation and new images come from the same source, the score of a
# new image is equally likely to have any rank among those of the n validation images and its own.
# So it is at most the k-th smallest of the n with a probability of at least k / (n + 1), and k is
# the smallest rank that promises the coverage. With too few images, k would be n + 1.
def find_threshold(scores: np.ndarray, coverage: float) -> float:
    """Return the largest score at which a class belongs to a set.

    The score of a class is one minus its probability.

    Raises:
        ConfigError: The coverage is not between 0 and 1.
        DataError: There are too few scores.
    """
    return float(np.sort(scores)[_find_rank(len(scores), coverage) - 1])


def _find_rank(count: int, coverage: float) -> int:
    """Return the rank of the score that is the threshold, from 1 to the number of scores."""
    if not arguments.fraction("coverage", coverage):
        raise ConfigError(
            Argument("coverage"), f" must be above 0 and below 1, got {show(coverage)}."
        )
    rank = max(math.ceil((count + 1) * coverage - 1e-9), 1)
    if rank > count:
        needed = math.ceil(coverage / (1 - coverage) * (1 - 1e-9))
        raise DataError(
            Argument("coverage"),
            f" of {coverage:g} needs at least {needed:,} validation images, got "
            f"{count:,}. Calibrate with more, or promise at most {count / (count + 1):.3g}.",
        )
    return rank


def select_classes(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Return which classes belong to the set of each image, `(count, classes)`."""
    chosen = 1 - probabilities.astype("float64") <= threshold + 1e-8
    chosen[np.arange(len(chosen)), probabilities.argmax(axis=1)] = True
    return np.asarray(chosen)


def score_true_classes(evaluation: Evaluation) -> np.ndarray:
    """Return one minus the probability of the true class of each image."""
    rows = np.arange(len(evaluation.labels))
    return np.asarray(1 - evaluation.probabilities[rows, evaluation.labels].astype("float64"))


def measure_sets(
    model: keras.Model, evaluation: Evaluation, *, coverage: float = 0.9
) -> MeasuredSets | None:
    """Return the coverage of prediction sets of test images; None if the model can't have them.

    Args:
        model: The classifier.
        evaluation: The evaluation of the classifier on test images.
        coverage: The share of images to promise, 0 < coverage < 1.
    """
    layer = probabilities_of(model)
    scores = layer.stored.get(KEY)
    if scores is None or getattr(layer, "multi_label", False):
        return None
    try:
        threshold = find_threshold(scores, coverage)
    except DataError:
        return None
    chosen = select_classes(evaluation.probabilities, threshold)
    return MeasuredSets(
        coverage=coverage,
        measured=float(chosen[np.arange(len(chosen)), evaluation.labels].mean()),
        mean_size=float(chosen.sum(axis=1).mean()),
        num_calibrated=len(scores),
    )
