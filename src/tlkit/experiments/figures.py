"""The figures of a report, and why a figure could not be drawn."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit._internal import text
from tlkit.data.batches import Data
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import DataError
from tlkit.evaluation import evaluator, ood
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.probing.search_result import BackboneSearch
from tlkit.models.inspection import probabilities_of
from tlkit.plotting import charts, feature_maps, image_grids, saliency
from tlkit.plotting.backbones import backbone_chart
from tlkit.training import ood_detector
from tlkit.training.records import Run

_MAX_CLASSES = 30  # that colors and markers distinguish
_SECONDS = 4.0  # for computing features
_MIN_IMAGES = 10
_MAX_SCORED = 1000  # test images, for the score of being none of the classes


def draw(
    model: keras.Model,
    run: Run,
    evaluation: Evaluation,
    data: Data,
    search: BackboneSearch | None = None,
) -> tuple[dict[str, Figure], dict[str, str]]:
    """Return the figures of a run by name, and why others could not be drawn, half a sentence each.

    Figures that explain the classifier take a few seconds at most.

    Args:
        model: The classifier.
        run: The training.
        evaluation: Of the classifier, on the test images.
        data: The test images and their labels.
        search: The backbones that were compared; None if one was named.
    """
    figures, errors = {}, {}
    for name, make in _list_figures(model, run, evaluation, data, search).items():
        try:
            figures[name] = make()
        except Exception as error:  # a figure is not worth losing the report
            errors[name] = text.reason(error)
    return figures, errors


def _list_figures(
    model: keras.Model,
    run: Run,
    evaluation: Evaluation,
    data: Data,
    search: BackboneSearch | None,
) -> dict[str, Callable[[], Figure]]:
    """Return what draws each figure, by its name."""
    probabilities = evaluation.probabilities
    grid = partial(image_grids.prediction_grid, model, data, probabilities=probabilities)
    makers: dict[str, Callable[[], Figure]] = {
        "confusion": partial(charts.confusion_matrix, evaluation),
        "calibration": partial(charts.reliability_diagram, evaluation),
        "predictions": partial(grid, count=9),
        "errors": partial(grid, which="confident", count=9),
        "curves": partial(charts.learning_curves, run),
        "grad_cam": partial(saliency.grad_cam_grid, model, data, probabilities=probabilities),
        "features": partial(_map, model, evaluation, data),
        "ood": partial(_draw_distances, model, data),
    }
    if evaluation.is_multi_label:
        makers = {"classes": partial(charts.class_metrics, evaluation), **makers}
        del makers["confusion"], makers["features"]  # a point has the colour of its only class
    if len(run.history["epoch"]) == 1:  # a solved head alone has no curve
        del makers["curves"]
    if ood_detector.from_arrays(probabilities_of(model).stored) is None:
        del makers["ood"]
    if search is not None:
        makers["backbones"] = partial(backbone_chart, search)
    return makers


def share_rejected(model: keras.Model, data: Data) -> float:
    """Return the share of some images whose score is above the threshold."""
    scores = ood.ood_scores(model, _choose(data))
    return float((scores > ood_detector.KEPT).mean())


def _draw_distances(model: keras.Model, data: Data) -> Figure:
    detector = ood.detector_of(model)
    distances = detector.measure(evaluator.embed(model, _choose(data)))
    return charts.ood_histogram(detector.distances, distances)


def _choose(data: Data) -> Any:
    """Return the images, or some of many, chosen at random."""
    images = data.images if isinstance(data, ImageDataset) else data[0]  # type: ignore[index]
    if len(images) <= _MAX_SCORED:
        return images
    chosen = np.random.default_rng(0).choice(len(images), _MAX_SCORED, replace=False)
    return images[np.sort(chosen)]


def _map(model: keras.Model, evaluation: Evaluation, data: Data) -> Figure:
    classes = len(evaluation.classes)
    if classes > _MAX_CLASSES:
        raise DataError(f"{classes:,} classes are more than colors and markers can distinguish")
    if evaluation.count < _MIN_IMAGES:
        raise DataError(f"{evaluation.count} test images are too few")
    # By principal components: t-SNE takes too long.
    return feature_maps.feature_map(model, data, max_seconds=_SECONDS)
