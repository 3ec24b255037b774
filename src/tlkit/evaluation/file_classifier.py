"""The parts of a classifier, of Keras or exported, that predicting image files needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from tlkit.evaluation.evaluator import run_in_order
from tlkit.evaluation.ood import read_scores
from tlkit.models.inspection import class_names, file_shape, is_multi_label, thresholds, value_range
from tlkit.models.own_predictions import predict_on_batch


@dataclass(frozen=True, kw_only=True, eq=False)
class FileClassifier:
    """A classifier as `predict_files` uses it.

    Attributes:
        class_names: The name of each class.
        thresholds: For multi-label, the lowest probability at which an image has each class; None
            otherwise.
        input_shape: The shape of a batch of images, as files are decoded.
        value_range: The values of black and white; None means (0, 255).
        has_ood_score: Whether `run` also returns an out-of-distribution score.
        run: Returns the probabilities of a batch, `(count, classes)`, and the score as a last
            column.
    """

    class_names: tuple[str, ...]
    thresholds: np.ndarray | None
    input_shape: tuple[int | None, ...]
    value_range: tuple[float, float] | None
    has_ood_score: bool
    run: Callable[[np.ndarray], np.ndarray]


def from_model(model: keras.Model) -> FileClassifier:
    """Return a Keras classifier as `predict_files` uses it."""
    scored = read_scores(model)
    return FileClassifier(
        class_names=class_names(model),
        thresholds=thresholds(model) if is_multi_label(model) else None,
        input_shape=file_shape(model),
        value_range=value_range(model),
        has_ood_score=scored is not None,
        run=checked(model, scored or partial(predict_on_batch, model)),
    )


def checked(
    model: keras.Model, run: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Wrap a function of images, so that it first checks them against a classifier's input."""
    return lambda images: run_in_order(
        model,
        [(np.arange(len(images)), images)],
        lambda batch: np.asarray(run(batch), "float32"),
    )
