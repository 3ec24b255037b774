"""Prepare a Keras classifier for predicting image files."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from tlkit._internal.signatures import check_arguments
from tlkit.evaluation.evaluator import run_in_order
from tlkit.evaluation.file_classifier import FileClassifier
from tlkit.evaluation.ood import read_scores
from tlkit.models.inspection import class_names, file_shape, is_multi_label, thresholds, value_range
from tlkit.models.own_predictions import predict_on_batch


@check_arguments
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
