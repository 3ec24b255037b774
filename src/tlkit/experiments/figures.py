"""The figures of a report, and the reasons why figures could not be drawn."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkit._internal import text
from tlkit.caching.cache import Cache
from tlkit.data.batches import Data
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError
from tlkit.evaluation import evaluator, ood
from tlkit.evaluation.head_features import HeadFeatures
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.probing.search_result import BackboneSearch
from tlkit.models.inspection import class_names, probabilities_of
from tlkit.plotting import charts, curves, feature_maps, image_grids, saliency
from tlkit.plotting.backbones import backbone_chart
from tlkit.plotting.portfolio import portfolio_picture
from tlkit.reports import portfolio
from tlkit.reports.facts import ReportFacts
from tlkit.training import ood_detector
from tlkit.training.records import Run

_MAX_CLASSES = 30  # more can't be distinguished by colors and markers
_MIN_IMAGES = 10
_MAX_IMAGES = 1000  # test images whose features are drawn


def draw(
    model: keras.Model,
    run: Run,
    evaluation: Evaluation,
    data: Data,
    *,
    search: BackboneSearch | None = None,
    sample: "SampledFeatures | None" = None,
) -> tuple[dict[str, Figure], dict[str, str]]:
    """Return the figures of a run by name, and by name why others could not be drawn.

    A reason is half a sentence. Figures that explain the classifier take a few seconds at most.

    Args:
        model: The classifier.
        run: The record of the training.
        evaluation: The evaluation of the classifier on the test images.
        data: The test images and their labels.
        search: The comparison of backbones; None if the user named one backbone.
        sample: The features of these images, or of some of them; by default they are computed.
    """
    sample = sample or SampledFeatures(model, data)
    figures, errors = {}, {}
    makers = _list_figures(model, run, evaluation, data, search=search, sample=sample)
    for name, make in makers.items():
        try:
            figures[name] = make()
        except Exception as error:  # a figure is not worth losing the report
            errors[name] = text.reason(error)
    return figures, errors


def draw_portfolio(
    model: keras.Model, evaluation: Evaluation, data: Data, *, facts: ReportFacts
) -> ReportFacts:
    """Return the facts of a report with the picture for a portfolio, or the reason it lacks one.

    Args:
        model: The classifier.
        evaluation: The evaluation of the classifier on the test images.
        data: The test images and their labels.
        facts: The values that the report states.
    """
    task = portfolio.describe_task(
        evaluation, backbone=facts.backbone, num_training=facts.total("train")
    )
    try:
        picture = portfolio_picture(
            model,
            data,
            evaluation,
            title=facts.title,
            task=task,
            numbers=portfolio.list_numbers(evaluation, facts.seconds),
        )
    except Exception as error:  # a figure is not worth losing the report
        errors = {**facts.figure_errors, "portfolio": text.reason(error)}
        return replace(facts, figure_errors=errors)
    return replace(facts, figures={**facts.figures, "portfolio": picture})


def _list_figures(
    model: keras.Model,
    run: Run,
    evaluation: Evaluation,
    data: Data,
    *,
    search: BackboneSearch | None,
    sample: "SampledFeatures",
) -> dict[str, Callable[[], Figure]]:
    """Return a function that draws each figure, by the figure's name."""
    probabilities = evaluation.probabilities
    grid = partial(image_grids.prediction_grid, model, data, probabilities=probabilities)
    makers: dict[str, Callable[[], Figure]] = {
        "confusion": partial(charts.confusion_matrix, evaluation),
        "calibration": partial(charts.reliability_diagram, evaluation),
        "predictions": partial(grid, count=9),
        "errors": partial(grid, which="confident", count=9),
        "curves": partial(curves.learning_curves, run),
        "grad_cam": partial(saliency.grad_cam_grid, model, data, probabilities=probabilities),
        "features": partial(_draw_map, sample, evaluation),
        "ood": partial(_draw_distances, sample),
    }
    if evaluation.is_multi_label:
        makers = {"classes": partial(charts.class_metrics, evaluation), **makers}
        del makers["confusion"], makers["features"]  # a point has the colour of its only class
    if all(phase.is_solved for phase in run.phases):  # without epochs there are no curves
        del makers["curves"]
    if ood_detector.from_arrays(probabilities_of(model).stored) is None:
        del makers["ood"]
    if search is not None:
        makers["backbones"] = partial(backbone_chart, search)
    return makers


# Three parts of a report need the features of test images: the map, the distances from the training
# images, and the share of images that are unlike them. The network computes the features once for
# all three, or not at all if they are stored.
class SampledFeatures:
    """The features that the head reads of test images, or of 1,000 of them, computed when needed.

    Args:
        model: The classifier.
        data: The test images and their labels.
        cache: Where the features are stored; None computes them by the whole model.

    Attributes:
        chosen: The indices of the images, sorted.
    """

    def __init__(self, model: keras.Model, data: Data, cache: Cache | None = None) -> None:
        self._images = data.images if isinstance(data, ImageDataset) else data[0]  # type: ignore[index]
        self.model, self._cache = model, cache
        self.chosen = np.arange(len(self._images))
        if len(self.chosen) > _MAX_IMAGES:
            random = np.random.default_rng(0)
            self.chosen = np.sort(random.choice(self.chosen, _MAX_IMAGES, replace=False))

    @cached_property
    def features(self) -> np.ndarray:
        """The features, `(images, features)`."""
        images = self._images
        if len(self.chosen) < len(images):
            lazy = isinstance(images, LazyImages)
            images = images.take(self.chosen) if lazy else images[self.chosen]
        if self._cache is None:
            return evaluator.embed(self.model, images)
        return HeadFeatures(self.model, self._cache).read(images)

    def share_rejected(self) -> float:
        """Return the share of the images whose out-of-distribution score is above the threshold."""
        scores = ood.detector_of(self.model).score(self.features)
        return float((scores > ood_detector.KEPT).mean())


def _draw_distances(sample: SampledFeatures) -> Figure:
    detector = ood.detector_of(sample.model)
    return charts.ood_histogram(detector.distances, detector.measure(sample.features))


def _draw_map(sample: SampledFeatures, evaluation: Evaluation) -> Figure:
    classes = len(evaluation.classes)
    if classes > _MAX_CLASSES:
        raise DataError(f"{classes:,} classes are more than colors and markers can distinguish")
    if evaluation.count < _MIN_IMAGES:
        raise DataError(f"{evaluation.count} test images are too few")
    truth = evaluation.labels[sample.chosen]
    return feature_maps.draw_map(sample.features, truth, class_names(sample.model))
