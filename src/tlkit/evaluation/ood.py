"""Out-of-distribution scores: how unlike a classifier's training images an image is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import plural
from tlkit.caching.engines import selection
from tlkit.data import batches, chunks
from tlkit.data.batches import Data
from tlkit.data.decoding import Fit
from tlkit.data.unlabelled import Images
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.evaluator import embed
from tlkit.models.inspection import features_of, probabilities_of
from tlkit.models.own_predictions import run_on_batch
from tlkit.training import ood_detector
from tlkit.training.inputs import validate
from tlkit.training.ood_detector import KEPT, OODDetector


@dataclass(frozen=True, kw_only=True)
class OODFit:
    """The result of `fit_ood`; `print` shows it in a sentence.

    Attributes:
        num_images: Number of training images.
        num_classes: Number of their classes.
        num_bytes: How many bytes the model's file grows by.
        kept: The threshold of the score, which is also the share of held-out training images whose
            score is at most this threshold.
    """

    num_images: int
    num_classes: int
    num_bytes: int
    kept: float = KEPT

    def __str__(self) -> str:
        return (
            f"none of these: fitted to {plural(self.num_images, 'image')} of {self.num_classes:,} "
            f"classes, {self.num_bytes:,} bytes; {100 * self.kept:.0f} % of training images, held "
            f"out, have a score of at most {self.kept:g}"
        )


@check_arguments
def fit_ood(
    model: keras.Model,
    data: Data,
    *,
    validation_data: Data | None = None,
    batch_size: int = 128,
    seed: int = 0,
) -> OODFit:
    """Fit Gaussians to the features of the training images, for `ood_scores`.

    The fit becomes part of the model, also in a saved file; training again removes it. Every recipe
    does this at the end of its training.

    Args:
        model: A classifier from build_classifier.
        data: The training images and labels, in any form. The distances of training images are
            measured by 5 folds, each image by Gaussians that were not fitted to it.
        validation_data: Images and labels that the classifier was not trained on, to measure
            distances on instead. Pass them after fine-tuning, which brings training images closer
            to the Gaussians than new images.
        batch_size: Images per batch, for arrays.
        seed: The seed of the folds.

    Raises:
        ConfigError: The classifier is multi-label, or its head is not one linear layer.
        DataError: Images or labels don't fit the model, or there are fewer than 20 images.

    Examples:
        >>> from tlkit import build_classifier
        >>> keras.utils.set_random_seed(0)
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), input_shape=(8, 8, 3))
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), "uint8")
        >>> fit_ood(model, (images, np.arange(40) % 2)).num_images
        40
        >>> float(ood_scores(model, np.tile(np.arange(0, 256, 32, "uint8")[:, None], (8, 1, 3)))[0])
        1.0
    """
    arguments.at_least("batch_size", batch_size, 1)
    _refuse_multi_label(model)
    features, labels = _read_features(model, data, "data", batch_size)
    found = ood_detector.fit(features, labels, seed=seed)
    if validation_data is not None:
        found = _measure_on(found, model, validation_data, batch_size)
    arrays = found.to_arrays()
    probabilities_of(model).stored |= arrays
    return OODFit(
        num_images=len(labels),
        num_classes=len(found.centres),
        num_bytes=sum(each.nbytes for each in arrays.values()),
    )


def fit_threshold(model: keras.Model, validation_data: Data, *, batch_size: int = 128) -> None:
    """Measure the distances of validation images, and use them in place of the training images'.

    Args:
        model: A classifier after `fit_ood`.
        validation_data: As for `fit_ood`.
        batch_size: Images per batch, for arrays.

    Raises:
        ConfigError: The classifier has no score.
        DataError: Images or labels don't fit the model, or there are fewer than 20 images.
    """
    found = _measure_on(detector_of(model), model, validation_data, batch_size)
    probabilities_of(model).stored |= found.to_arrays()


@check_arguments
def ood_scores(
    model: keras.Model, images: Images, *, fit: Fit = "squash", batch_size: int = 128
) -> np.ndarray:
    """Return how unlike the training images each image is, 0 to 1, `(count,)`.

    A score of 0.99 means that an image is more unlike the training images than 99 % of training
    images that were held out. Above 0.95 an image probably shows none of the classes: of images
    like the training images, 5 % have such a score.

    Args:
        model: A classifier that a recipe trained, or after `fit_ood`.
        images: As for `tlkit.predict`.
        fit: As for `tlkit.predict`.
        batch_size: Images per batch.

    Raises:
        ConfigError: The classifier has no such score.
        DataError: As for `tlkit.predict`.
    """
    return detector_of(model).score(embed(model, images, fit=fit, batch_size=batch_size))


def detector_of(model: keras.Model) -> OODDetector:
    """Return the detector that `fit_ood` stored in a classifier.

    Raises:
        ConfigError: The classifier holds no detector, or is multi-label.
    """
    _refuse_multi_label(model)
    found = ood_detector.from_arrays(probabilities_of(model).stored)
    if found is None:
        raise ConfigError(
            "`model` must have been fitted to its training images to say how unlike them an image "
            "is. Call tlkit.fit_ood(model, training_data) once; a saved model keeps it."
        )
    return found


def read_scores(model: keras.Model) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a function of images that returns their probabilities, and their score as last column.

    The backbone runs once for both. The result is None if the classifier has no such score.
    """
    found = ood_detector.from_arrays(probabilities_of(model).stored)
    if found is None:
        return None
    both = keras.Model(model.inputs[0], [model.outputs[0], features_of(model).outputs[0]])

    def run(images: np.ndarray) -> np.ndarray:
        probabilities, features = map(np.asarray, run_on_batch(both, images))
        return np.concatenate([probabilities, found.score(features)[:, None]], axis=1)

    return run


def _measure_on(
    detector: OODDetector, model: keras.Model, validation_data: Data, batch_size: int
) -> OODDetector:
    features, _ = _read_features(model, validation_data, "validation_data", batch_size)
    if len(features) < ood_detector.MIN_IMAGES:
        raise DataError(
            f"`validation_data` must hold at least {ood_detector.MIN_IMAGES} images, "
            f"got {len(features)}."
        )
    return ood_detector.with_distances(detector, features)


def _read_features(
    model: keras.Model, data: Data, name: str, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    reader, inputs = features_of(model), validate(data, model, name)
    count = chunks.max_images(inputs)
    engines: dict[Any, selection.Engine] = {}
    features, labels = [], []
    for images, given in batches.batches(inputs, batch_size):
        rows = np.asarray(images)
        key = rows.shape[1:], rows.dtype
        if key not in engines:
            engines[key] = selection.prepare("auto", reader, rows, num_images=count)
        features.append(engines[key].run(rows)[0])
        labels.append(batches.label_indices(given).astype("int64"))
    return np.concatenate(features), np.concatenate(labels)


def _refuse_multi_label(model: keras.Model) -> None:
    if getattr(probabilities_of(model), "multi_label", False):
        raise ConfigError(
            "`model` must have classes that exclude each other, got a multi-label classifier: an "
            "image of it that shows none of the classes has low probabilities for all of them."
        )
