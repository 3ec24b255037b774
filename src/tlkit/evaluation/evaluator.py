"""Ask a classifier what images show, and measure how good it is."""

from collections.abc import Sequence
from functools import partial

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.variables import temporary_seed
from tlkit.data import augmentation as augmenting
from tlkit.data import batches
from tlkit.data.batches import Data
from tlkit.data.lazy_images import LazyImages
from tlkit.evaluation.metrics import Evaluation, compute_metrics
from tlkit.models.inspection import class_names as names_of
from tlkit.training.inputs import validate, validate_arrays

_BYTES = 64 * 2**20  # of images that are read when they are asked for, at a time


def predict(
    model: keras.Model,
    images: np.ndarray | LazyImages,
    *,
    augmentation: Sequence[keras.layers.Layer] = (),
    views: int = 8,
    batch_size: int = 128,
    seed: int | None = 0,
) -> np.ndarray:
    """Return a classifier's probabilities, `(count, classes)`, in the order of the images.

    With augmentation they are the mean over the images as they are and `views` copies changed at
    random: test-time augmentation (Krizhevsky et al., 2012).

    Args:
        model: A classifier from build_classifier.
        images: Raw images.
        augmentation: Keras preprocessing layers such as RandomFlip.
        views: How many changed copies of each image are looked at.
        batch_size: Images a step.
        seed: Of the changes, which are the same in every call; None draws on.

    Raises:
        ConfigError: A number is wrong.
        DataError: The images don't fit the model.
    """
    arguments.at_least("batch_size", batch_size, 1)
    arguments.at_least("views", views, 1)
    images, _ = validate_arrays((images, np.zeros(len(images), "int64")), model, "images")
    rows = len(images)
    if isinstance(images, LazyImages):
        rows = max(_BYTES // (images.dtype.itemsize * images.size // len(images)), batch_size)
    look = partial(_looked_at, model, augmentation=augmentation, views=views, rows=batch_size)
    starts = range(0, len(images), rows)
    with temporary_seed(augmentation, seed):
        return np.concatenate([look(images[at : at + rows]) for at in starts])


def _looked_at(
    model: keras.Model,
    images: np.ndarray,
    *,
    augmentation: Sequence[keras.layers.Layer],
    views: int,
    rows: int,
) -> np.ndarray:
    """Return the mean over the images as they are and, with augmentation, changed copies."""
    total = np.asarray(model.predict(images, batch_size=rows, verbose=0))
    if not augmentation:
        return total
    pieces = [images[at : at + rows] for at in range(0, len(images), rows)]
    for _ in range(views):
        changed = [_changed_predictions(model, batch, augmentation) for batch in pieces]
        total = total + np.concatenate(changed)
    return total / (views + 1)


def _changed_predictions(
    model: keras.Model, images: np.ndarray, augmentation: Sequence[keras.layers.Layer]
) -> np.ndarray:
    given = images[..., None] if images.ndim == len(model.input_shape) - 1 else images
    return np.asarray(model.predict_on_batch(augmenting.augment(given, augmentation)))


def evaluate(
    model: keras.Model,
    data: Data,
    *,
    augmentation: Sequence[keras.layers.Layer] = (),
    views: int = 8,
    batch_size: int = 128,
    seed: int | None = 0,
) -> Evaluation:
    """Measure a classifier on images it has not seen.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form; the classes of an `ImageDataset` are matched by name.
            Labels are integers or one-hot.
        augmentation: As for `predict`: test-time augmentation.
        views: As for `predict`.
        batch_size: Images a step, for arrays.
        seed: As for `predict`; a dataset's batches go on from one to the next.

    Raises:
        DataError: Images or labels don't fit the model.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), class_names=["cat", "dog"])
        >>> evaluate(model, (np.zeros((5, 8, 8, 3), "uint8"), np.array([0, 1, 1, 0, 1]))).count
        5
    """
    names = names_of(model)
    arguments.at_least("batch_size", batch_size, 1)
    inputs = validate(data, model)
    if batches.is_arrays(inputs):
        images, labels = inputs
        probabilities = predict(
            model, images, augmentation=augmentation, views=views, batch_size=batch_size, seed=seed
        )
        return compute_metrics(batches.label_indices(labels), probabilities, class_names=names)
    look = partial(predict, model, augmentation=augmentation, views=views, seed=None)
    with temporary_seed(augmentation, seed):
        pairs = [
            (
                look(images) if augmentation else model.predict_on_batch(images),
                batches.label_indices(labels),
            )
            for images, labels in batches.batches(inputs, batch_size)
        ]
    probabilities, indices = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return compute_metrics(indices, probabilities, class_names=names)
