"""Cross-validate a classifier: each image is tested by a head that was not fitted to its fold.

With few images, a test set of a fifth of them gives an imprecise accuracy. Cross-validation tests
on all of them. The backbone is frozen, so it runs once over the images, and only heads are fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import keras
import numpy as np
import rich.console
from scipy.special import softmax

from tlkit._internal import arguments
from tlkit._internal.html import render_html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import render_text
from tlkit.caching.cache import Cache
from tlkit.data import folds as dividing
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.estimates import Estimate
from tlkit.evaluation.label_audit import read_features
from tlkit.evaluation.metrics import Evaluation, compute_metrics
from tlkit.models.inspection import class_names
from tlkit.training import solvers
from tlkit.training.inputs import validate


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidation:
    """The results of a cross-validation; `print` shows them.

    Attributes:
        fold_of: The fold of each image, from 0.
        pooled: Metrics over all images, each predicted by the classifier not fitted to its fold.
    """

    fold_of: np.ndarray = field(repr=False)
    pooled: Evaluation

    @property
    def num_folds(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1

    @property
    def accuracies(self) -> tuple[float, ...]:
        """The accuracy on each fold."""
        correct = self.pooled.probabilities.argmax(axis=1) == self.pooled.labels
        return tuple(float(correct[self.fold_of == fold].mean()) for fold in range(self.num_folds))

    @property
    def accuracy(self) -> Estimate:
        """The mean accuracy over the folds, with its 95 % interval by Student's t.

        The interval is approximate, because the classifiers of two folds share training images.
        """
        return Estimate.from_values(self.accuracies)

    def to_dict(self) -> dict[str, Any]:
        """Return the accuracy on each fold, their mean and half their interval, for JSON."""
        return {
            "count": self.num_folds,
            "accuracies": list(self.accuracies),
            "mean": self.accuracy.mean,
            "interval": self.accuracy.interval,
        }

    def summary(self) -> str:
        """Return the accuracy over the folds, in one line."""
        return (
            f"{self.num_folds} folds: accuracy {self.accuracy.format(0.01, 2)} % (mean and 95 % "
            f"interval over folds), from {100 * min(self.accuracies):.2f} to "
            f"{100 * max(self.accuracies):.2f} %"
        )

    def __rich__(self) -> rich.console.RenderableType:
        return rich.console.Group(self.summary(), self.pooled)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


@check_arguments
def cross_validate(
    model: keras.Model,
    data: ImageDataset,
    *,
    folds: int = 5,
    solver: solvers.Solver = "lbfgs",
    seed: int = 0,
    batch_size: int = 128,
    cache: Cache | None = None,
) -> CrossValidation:
    """Evaluate a classifier's backbone by folds, each tested by a head fitted to the other folds.

    The backbone runs once over all images. The model is not changed and its head is not used: to
    get a classifier, fit the head to all images afterwards. The layers that the head reads must not
    have been chosen on these images, or the results are slightly too optimistic.

    Args:
        model: A classifier from build_classifier, on a backbone not trained on these images.
        data: Images and labels.
        folds: How many folds, as for `tlkit.splits.assign_folds`.
        solver: "lbfgs" (logistic regression) or "ridge".
        seed: The seed of the folds and of the solver.
        batch_size: Images per batch.
        cache: Where features are stored, so that each image passes through the backbone only once.

    Raises:
        ConfigError: A number is wrong, or the head is more than one dense layer.
        DataError: The images don't fit the model, or a class has too few of them.

    Examples:
        >>> from tlkit import build_classifier, sources
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), class_names=["a", "b"])
        >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), "uint8")
        >>> data = sources.from_arrays(images, np.arange(20) % 2, class_names="ab")
        >>> cross_validate(model, data, folds=4).pooled.count
        20
    """
    arguments.one_of("solver", solver, get_args(solvers.Solver))
    arguments.at_least("batch_size", batch_size, 1)
    fold_of = dividing.assign_folds(_check(data), folds=folds, seed=seed)
    features, labels = read_features(model, validate(data, model), batch_size, cache)
    classes = len(class_names(model))

    def predict(fitted: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        fit = getattr(solvers, solver)
        linear = fit(features[fitted], labels[fitted], classes=classes, seed=seed)
        logits = linear.logits(features[held_out]).astype("float64")
        return np.asarray(softmax(logits, axis=1))

    return pool_folds(predict, fold_of, labels, class_names=class_names(model))


def pool_folds(
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray],
    fold_of: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: tuple[str, ...],
) -> CrossValidation:
    """Predict each fold by a classifier that is fitted to the others, and return the results.

    Args:
        predict: Is called with two arrays of image indices; it fits a classifier to the first
            images and returns the probabilities of the second, `(count, classes)`.
        fold_of: The fold of each image, from 0.
        labels: The class index of each image.
        class_names: The name of each class.
    """
    probabilities = np.empty((len(labels), len(class_names)), "float32")
    for fold in range(int(fold_of.max()) + 1):
        held_out = np.flatnonzero(fold_of == fold)
        probabilities[held_out] = predict(np.flatnonzero(fold_of != fold), held_out)
    return CrossValidation(
        fold_of=fold_of, pooled=compute_metrics(labels, probabilities, class_names=class_names)
    )


def _check(data: ImageDataset) -> ImageDataset:
    if not isinstance(data, ImageDataset):
        raise ConfigError(
            f"`data` must be an ImageDataset, got {type(data).__name__}. tlkit.sources makes one "
            "of arrays, files or batches."
        )
    if not data.is_multi_label and (np.bincount(data.labels) > 0).sum() < 2:
        raise DataError("`data` must contain images of at least 2 classes, got only one.")
    return data
