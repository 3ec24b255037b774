"""The limitations that follow from an evaluation, as values; the template has the sentences."""

from dataclasses import dataclass

from tlkit.evaluation.class_metrics import ClassMetrics
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.prediction_sets import MeasuredSets

FEW_IMAGES = 30
"""A class with fewer test images is named among the limitations."""
LOW_RECALL = 0.8
"""A class with a lower recall is named among the limitations."""

_WIDE_INTERVAL = 0.05
_SMALL_CALIBRATION_ERROR, _LARGE_CALIBRATION_ERROR = 0.03, 0.1


@dataclass(frozen=True, kw_only=True)
class Limitations:
    """The limitations of a classifier that an evaluation shows.

    Attributes:
        interval_width: The width of the 95 % interval of the accuracy, or for multi-label of the
            mean average precision; None if it is at most 0.05.
        beats_majority: Whether the whole interval is above the accuracy of always predicting the
            most frequent class; for multi-label, above the mean average precision of guessing.
        confidences: "reliable", "approximate" or "unreliable", by the calibration error.
        overconfident: Whether the mean confidence is above the accuracy; for multi-label, the mean
            probability above the share of positive labels.
        untested: The classes without a test image.
        rare: The classes with few test images, fewer than 30.
        missed: The classes with a recall below 0.8, the lowest first.
        coverage_range: The lowest and the highest coverage of prediction sets of 95 % of
            calibrations on as few images; None without sets, if there are at least 1,000 images, or
            if the accuracy is above the promise, because a set contains the most probable class.
    """

    interval_width: float | None
    beats_majority: bool
    confidences: str
    overconfident: bool
    untested: tuple[ClassMetrics, ...]
    rare: tuple[ClassMetrics, ...]
    missed: tuple[ClassMetrics, ...]
    coverage_range: tuple[float, float] | None = None


def find(
    evaluation: Evaluation, *, majority_share: float, sets: MeasuredSets | None = None
) -> Limitations:
    """Return the limitations that an evaluation shows.

    Args:
        evaluation: The evaluation of the classifier on test images.
        majority_share: The accuracy of always predicting the most frequent class; for multi-label,
            the mean average precision of guessing.
        sets: The measured prediction sets of the test images; None without sets.
    """
    low, high = evaluation.accuracy_interval
    confidence, right = float(evaluation.probabilities.max(axis=1).mean()), evaluation.accuracy
    if evaluation.is_multi_label:
        low, high = evaluation.intervals.get("mean_average_precision", (0.0, 1.0))
        confidence, right = float(evaluation.probabilities.mean()), float(evaluation.labels.mean())
    tested = [score for score in evaluation.classes if score.support]
    missed = [score for score in tested if score.recall < LOW_RECALL]
    return Limitations(
        interval_width=high - low if high - low > _WIDE_INTERVAL else None,
        beats_majority=low > majority_share,
        confidences=_judge(evaluation.calibration_error),
        overconfident=confidence > right,
        untested=tuple(score for score in evaluation.classes if not score.support),
        rare=tuple(score for score in tested if score.support < FEW_IMAGES),
        missed=tuple(sorted(missed, key=lambda score: score.recall)),
        coverage_range=_find_coverage_range(evaluation, sets),
    )


def _find_coverage_range(
    evaluation: Evaluation, sets: MeasuredSets | None
) -> tuple[float, float] | None:
    if sets is None or not sets.is_uncertain or evaluation.accuracy_interval[0] >= sets.coverage:
        return None
    return sets.coverage_range


def _judge(calibration_error: float) -> str:
    if calibration_error <= _SMALL_CALIBRATION_ERROR:
        return "reliable"
    return "approximate" if calibration_error <= _LARGE_CALIBRATION_ERROR else "unreliable"
