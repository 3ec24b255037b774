"""The figures that a report of a run shows, and why one that it could not make is missing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
from matplotlib.figure import Figure

from tlkit.data.batches import Data
from tlkit.errors import DataError
from tlkit.evaluation.metrics import Evaluation
from tlkit.plotting import charts, saliency
from tlkit.training.records import Run

_MOST_CLASSES = 30  # that colours and marks of a map still tell apart
_SECONDS = 4.0  # for reading images for the map
_FEWEST = 10  # images, below which a map shows nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """What `figures` made.

    Attributes:
        made: Figures by name.
        left_out: Why a figure could not be made, by its name: half a sentence.
    """

    made: dict[str, Figure]
    left_out: dict[str, str]


def figures(model: keras.Model, run: Run, evaluation: Evaluation, data: Data) -> Figures:
    """Return the figures of a run; what explains the classifier takes a few seconds at most.

    Args:
        model: The classifier.
        run: What its training did.
        evaluation: What it does on the test images.
        data: The test images and their labels.
    """
    known = evaluation.probabilities
    grid = partial(charts.prediction_grid, model, data, probabilities=known)
    made = {
        "confusion": charts.confusion_matrix(evaluation),
        "calibration": charts.reliability_diagram(evaluation),
        "predictions": grid(count=9),
        "errors": grid(which="confident", count=9),
    }
    if len(run.history["epoch"]) > 1:  # a solved head alone has no curve
        made["curves"] = charts.learning_curves(run)
    explained: dict[str, Callable[[], Figure]] = {
        "grad_cam": partial(saliency.grad_cam_grid, model, data, probabilities=known),
        "features": partial(_map, model, evaluation, data),
    }
    left_out = {}
    for name, make in explained.items():
        try:
            made[name] = make()
        except Exception as error:  # no picture is worth losing a training for
            left_out[name] = next(iter(str(error).splitlines()), type(error).__name__)
    return Figures(made=made, left_out=left_out)


def _map(model: keras.Model, evaluation: Evaluation, data: Data) -> Figure:
    classes = len(evaluation.classes)
    if classes > _MOST_CLASSES:
        raise DataError(f"{classes:,} classes are more than colours and marks can tell apart")
    if evaluation.count < _FEWEST:
        raise DataError(f"{evaluation.count} test images are too few for one")
    return saliency.feature_map(model, data, seconds=_SECONDS)  # t-SNE takes too long
