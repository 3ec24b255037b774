"""Predict the classes of images, and evaluate a classifier on a test set."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments, user_warnings
from tlkit._internal.logs import hide_retracing
from tlkit._internal.signatures import check_arguments
from tlkit._internal.variables import temporary_seed
from tlkit.caching.cache import Cache
from tlkit.caching.progress import CacheProgress, show_waiting
from tlkit.data import augmentation as augmenting
from tlkit.data import batches, unlabelled
from tlkit.data.batches import Data
from tlkit.data.decoding import Fit
from tlkit.data.unlabelled import Images
from tlkit.evaluation.head_features import HeadFeatures
from tlkit.evaluation.metrics import Evaluation, compute_metrics
from tlkit.models import own_predictions
from tlkit.models.inspection import class_names as names_of
from tlkit.models.inspection import features_of, file_shape, is_multi_label, thresholds, value_range
from tlkit.training import augmentation_record
from tlkit.training.inputs import (
    check_augmentation,
    true_labels,
    validate,
    validate_arrays,
)


@check_arguments
def predict(
    model: keras.Model,
    images: Images,
    *,
    fit: Fit = "squash",
    augmentation: Sequence[keras.layers.Layer] = (),
    views: int = 8,
    batch_size: int = 128,
    seed: int | None = 0,
) -> np.ndarray:
    """Return the probability of each class for each image, `(count, classes)`.

    With a multi-label classifier, an image has the classes whose probability is at least their
    threshold in `tlkit.models.thresholds(model)`.

    With augmentation, the result is the mean over the image itself and `views` augmented copies:
    test-time augmentation (Krizhevsky et al., 2012).

    Args:
        model: A classifier from build_classifier.
        images: Raw images: an array of one image or of many, a path, a Pillow image, the bytes of a
            file, a list of any of these, or an `ImageDataset`. A folder means all images in it and
            its subfolders, in the order of their paths.
        fit: How files and Pillow images are fitted into the model's size: as for
            `tlkit.sources.from_folder`.
        augmentation: Keras preprocessing layers such as RandomFlip.
        views: How many augmented copies of each image to predict; used with augmentation only.
        batch_size: Images per batch.
        seed: The seed of the augmentation; None continues the layers' own random numbers.

    Warns:
        UserWarning: The classifier was trained by tlkit, but without this augmentation.

    Raises:
        ConfigError: A number is wrong.
        DataError: The images don't fit the model, can't be read, or it is not clear whether an
            array is one image or many.

    Examples:
        >>> from PIL import Image
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), input_shape=(8, 8, 3))
        >>> predict(model, [Image.new("L", (40, 30)), np.zeros((8, 8, 3), "uint8")]).shape
        (2, 2)
    """
    _warn_untrained(model, augmentation)
    return _predict(
        model,
        images,
        fit=fit,
        augmentation=augmentation,
        views=views,
        batch_size=batch_size,
        seed=seed,
    )


def _warn_untrained(model: keras.Model, augmentation: Sequence[keras.layers.Layer]) -> None:
    """Warn of augmentation that the classifier was not trained on."""
    names = augmentation_record.find_untrained(model, augmentation)
    if names:
        user_warnings.warn(
            f"`augmentation` has {', '.join(names)}, on which this classifier was not trained: the "
            "mean over such copies is often less accurate. Leave it out, or train with it."
        )


def _predict(
    model: keras.Model,
    images: Images,
    *,
    fit: Fit = "squash",
    augmentation: Sequence[keras.layers.Layer],
    views: int,
    batch_size: int,
    seed: int | None,
) -> np.ndarray:
    arguments.at_least("batch_size", batch_size, 1)
    arguments.at_least("views", views, 1)
    augmenting.refuse_mixing(augmentation, "in a prediction")
    blocks = unlabelled.read_blocks(
        images,
        input_shape=model.input_shape,
        file_shape=file_shape(model),
        value_range=value_range(model),
        fit=fit,
        batch_size=batch_size,
    )
    predict_rows = partial(
        _mean_over_views, model, augmentation=augmentation, views=views, batch_size=batch_size
    )
    with temporary_seed(augmentation, seed):
        return run_in_order(model, blocks, predict_rows, augmentation=augmentation)


@check_arguments
def embed(
    model: keras.Model, images: Images, *, fit: Fit = "squash", batch_size: int = 128
) -> np.ndarray:
    """Return the features of each image that a classifier's head reads, `(count, features)`.

    Args:
        model: A classifier from build_classifier.
        images: As for `predict`.
        fit: As for `predict`.
        batch_size: Images per batch.

    Raises:
        ConfigError: A number is wrong, or the head is not one linear layer.
        DataError: As for `predict`.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), input_shape=(8, 8, 3))
        >>> embed(model, np.zeros((5, 8, 8, 3), "uint8")).shape
        (5, 4)
    """
    arguments.at_least("batch_size", batch_size, 1)
    reader = features_of(model)
    blocks = unlabelled.read_blocks(
        images,
        input_shape=model.input_shape,
        file_shape=file_shape(model),
        value_range=value_range(model),
        fit=fit,
        batch_size=batch_size,
    )

    def read(block: np.ndarray) -> np.ndarray:
        with hide_retracing():
            found = reader.predict(block, batch_size=batch_size, verbose=0)
        return np.asarray(found, "float32")

    return run_in_order(model, blocks, read)


def run_in_order(
    model: keras.Model,
    blocks: Iterable[tuple[np.ndarray, Any]],
    run: Callable[[Any], np.ndarray],
    *,
    augmentation: Sequence[keras.layers.Layer] = (),
) -> np.ndarray:
    """Apply a function to blocks of images, and return a row for each image, sorted by index.

    Args:
        model: The classifier that images are checked against.
        blocks: Pairs of image indices, and the images with these indices.
        run: Returns a row for each image of a block.
        augmentation: Layers that are checked on the first block.
    """
    order: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    for indices, block in blocks:
        zeros = np.zeros((len(block), model.output_shape[-1])[: 1 + is_multi_label(model)], int)
        labelled = validate_arrays((block, zeros), model, "images", lenient=True)
        if not rows:
            check_augmentation(model, augmentation, labelled)
        order.append(indices)
        rows.append(run(labelled[0]))
    return np.asarray(np.concatenate(rows)[np.argsort(np.concatenate(order))])


def _mean_over_views(
    model: keras.Model,
    images: np.ndarray,
    *,
    augmentation: Sequence[keras.layers.Layer],
    views: int,
    batch_size: int,
) -> np.ndarray:
    total = own_predictions.predict(model, images, batch_size=batch_size)
    if not augmentation:
        return total
    pieces = [images[at : at + batch_size] for at in range(0, len(images), batch_size)]
    for _ in range(views):
        total = total + np.concatenate(
            [_predict_augmented(model, piece, augmentation) for piece in pieces]
        )
    return total / (views + 1)


def _predict_augmented(
    model: keras.Model, images: np.ndarray, augmentation: Sequence[keras.layers.Layer]
) -> np.ndarray:
    images = images[..., None] if images.ndim == len(model.input_shape) - 1 else images
    return own_predictions.predict_on_batch(model, augmenting.augment(images, augmentation))


@check_arguments
def evaluate(
    model: keras.Model,
    data: Data,
    *,
    augmentation: Sequence[keras.layers.Layer] = (),
    views: int = 8,
    batch_size: int = 128,
    seed: int | None = 0,
    cache: Cache | None = None,
    verbose: bool = False,
) -> Evaluation:
    """Return the metrics of a classifier on images that it was not trained on.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form; the classes of an `ImageDataset` are matched by name.
            Labels are integers or one-hot; for a multi-label classifier, rows of 0 and 1.
        augmentation: As for `predict`: test-time augmentation.
        views: As for `predict`.
        batch_size: Images per batch, for arrays.
        seed: As for `predict`.
        cache: Where the features that the head reads are stored, so that each image passes through
            the backbone only once; the head must be one dense layer. None computes all again.
        verbose: Whether to show progress in a terminal.

    Raises:
        DataError: Images or labels don't fit the model.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), class_names=["cat", "dog"])
        >>> evaluate(model, (np.zeros((5, 8, 8, 3), "uint8"), np.array([0, 1, 1, 0, 1]))).count
        5
    """
    measure = partial(
        compute_metrics,
        class_names=names_of(model),
        thresholds=thresholds(model) if is_multi_label(model) else None,
    )
    arguments.at_least("batch_size", batch_size, 1)
    _warn_untrained(model, augmentation)
    inputs = validate(data, model)
    how: dict[str, Any] = {"augmentation": augmentation, "views": views, "batch_size": batch_size}
    if batches.is_arrays(inputs):
        images, labels = inputs
        if cache is not None and not augmentation:
            with closing(CacheProgress(verbose=verbose, title="evaluation")) as progress:
                probabilities = HeadFeatures(model, cache, progress=progress).predict(images)
            return measure(true_labels(model, labels), probabilities)
        with show_waiting("evaluating", verbose=verbose):
            probabilities = _predict(model, images, seed=seed, **how)
        return measure(true_labels(model, labels), probabilities)

    def predict_batch(images: np.ndarray) -> np.ndarray:
        if augmentation:
            return _predict(model, images, seed=None, **how)
        return own_predictions.predict_on_batch(model, images)

    with temporary_seed(augmentation, seed), show_waiting("evaluating", verbose=verbose):
        pairs = [
            (predict_batch(images), true_labels(model, labels))
            for images, labels in batches.batches(inputs, batch_size)
        ]
    probabilities, indices = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return measure(indices, probabilities)
