"""Calibrate a classifier's confidences, and choose its thresholds, on validation images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit._internal.html import render_html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import render_text
from tlkit._internal.text import join_first
from tlkit.caching.cache import Cache
from tlkit.data.batches import Data
from tlkit.evaluation import prediction_sets
from tlkit.evaluation.evaluator import evaluate
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.reliability import fit_temperature
from tlkit.evaluation.thresholds import MIN_IMAGES, choose
from tlkit.models.inspection import probabilities_of

MIN_MISCLASSIFIED = 10
"""The number of misclassified images that fitting a temperature needs."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The temperature of a classifier, and its effect; `print` shows it in a sentence.

    Attributes:
        num_misclassified: How many validation images were misclassified; for multi-label, how many
            have at least one wrong class at a threshold of 0.5.
        temperature: The divisor of the logits; 1 if fewer than ten images were misclassified.
        loss: The cross-entropy on the validation images, before and after.
        calibration_error: The expected calibration error on them, before and after, 0 to 1.
        thresholds: For multi-label, the threshold of each class by its name; None otherwise.
        defaulted: The classes whose threshold is 0.5, because fewer than ten validation images
            have the class, or fewer than ten lack it.
    """

    num_misclassified: int
    temperature: float
    loss: tuple[float, float]
    calibration_error: tuple[float, float]
    thresholds: Mapping[str, float] | None = None
    defaulted: tuple[str, ...] = ()

    def __rich__(self) -> str:
        if self.thresholds is None:
            return self._describe_temperature()
        values = [each for name, each in self.thresholds.items() if name not in self.defaulted]
        lines = [self._describe_temperature()]
        if values:
            lines.append(
                f"thresholds of {len(values)} of {len(self.thresholds)} classes chosen for the "
                f"highest F1 on the validation images: {min(values):.3f} to {max(values):.3f}"
            )
        if self.defaulted:
            lines.append(
                f"threshold 0.5, because fewer than {MIN_IMAGES} validation images have the class, "
                f"or don't: {join_first(self.defaulted)}"
            )
        return "\n".join(lines)

    def _describe_temperature(self) -> str:
        if self.num_misclassified < MIN_MISCLASSIFIED:
            return (
                f"confidences stay as trained: a temperature needs {MIN_MISCLASSIFIED} "
                f"misclassified validation images, found {self.num_misclassified}"
            )
        before, after = (100 * error for error in self.calibration_error)
        return (
            f"calibrated by temperature {self.temperature:.3f}: on the validation images, loss "
            f"from {self.loss[0]:.4f} to {self.loss[1]:.4f}, calibration error from "
            f"{before:.2f} % to {after:.2f} %"
        )

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


@check_arguments
def calibrate(model: keras.Model, data: Data, *, cache: Cache | None = None) -> Calibration:
    """Set a classifier's temperature, in place: predictions stay the same, confidences change.

    Temperature scaling: Guo et al., 2017 (arXiv:1706.04599). If no image were misclassified, the
    confidence would grow without bound, so at least ten misclassified images are needed.

    The probabilities of the true classes are stored too, because `tlkit.predict_sets` needs them.
    For a multi-label classifier, thresholds are stored instead: for each class the one with the
    highest F1 on these images (Lipton et al., 2014, arXiv:1402.1892), or 0.5 if fewer than ten
    images have the class, or fewer than ten lack it.

    Temperature, probabilities and thresholds become part of the model, also in a saved file.
    Calibrate last, because training again resets them. So does a second call of `calibrate`.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form, on which it was not trained. Don't use the test
            images: their metrics would become too optimistic.
        cache: As for `evaluate`.

    Raises:
        DataError: Images or labels don't fit the model.

    Examples:
        >>> import numpy as np
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), "uint8")
        >>> found = calibrate(model, (images, np.arange(20) % 2))
        >>> found.loss[1] <= found.loss[0]
        True
    """
    return calibrate_by(model, lambda: evaluate(model, data, cache=cache))


def calibrate_by(model: keras.Model, measure: Callable[[], Evaluation]) -> Calibration:
    """Set a classifier's temperature as `calibrate` does.

    Args:
        model: The classifier.
        measure: Returns the evaluation of the model, with its present temperature, on images on
            which it was not trained.
    """
    probabilities_of(model).thresholds = None
    set_temperature(model, 1.0)
    probabilities_of(model).stored.pop(prediction_sets.KEY, None)
    before = after = measure()
    temperature = 1.0
    num_misclassified = int((~before.correct).sum())
    if num_misclassified >= MIN_MISCLASSIFIED:
        temperature = fit_temperature(before.labels, before.probabilities)
        set_temperature(model, temperature)
        after = measure()
    if after.labels.ndim == 1:
        scores = np.sort(prediction_sets.score_true_classes(after))
        probabilities_of(model).stored[prediction_sets.KEY] = scores
    return Calibration(
        **_set_thresholds(model, after),
        num_misclassified=num_misclassified,
        temperature=temperature,
        loss=(before.loss, after.loss),
        calibration_error=(before.calibration_error, after.calibration_error),
    )


def _set_thresholds(model: keras.Model, evaluation: Evaluation) -> dict[str, Any]:
    """Set the thresholds of a multi-label classifier; return them, and the classes left at 0.5."""
    if not evaluation.is_multi_label:
        return {}
    found = choose(evaluation.labels, evaluation.probabilities)
    probabilities_of(model).thresholds = tuple(found.values.tolist())
    names = np.array(evaluation.class_names)
    return {
        "thresholds": dict(zip(evaluation.class_names, found.values.tolist(), strict=True)),
        "defaulted": tuple(names[~found.chosen].tolist()),
    }


def set_temperature(model: keras.Model, temperature: float) -> None:
    """Set the temperature that a classifier divides its logits by."""
    probabilities_of(model).temperature = temperature
    model.make_predict_function(force=True)  # the compiled function holds the old temperature
