"""Convert images and labels from any form to one form, checked against a classifier."""

from collections.abc import Sequence

import keras
import numpy as np

from tlkit._internal import user_warnings
from tlkit._internal.variables import temporary_seed
from tlkit.data import augmentation, batches, checks, chunks
from tlkit.data.batches import Arrays, Data, Inputs
from tlkit.data.checked_batches import CheckedBatches
from tlkit.data.class_names import find_class_names, is_unnamed
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import ConfigError
from tlkit.models.inspection import (
    class_names,
    is_multi_label,
    probabilities_of,
    value_range,
)

_AUGMENTED = 32  # images on which an augmentation is tried


def validate(
    data: Data,
    model: keras.Model,
    name: str = "data",
    *,
    uses_weights: bool = False,
    lenient: bool = False,
) -> Inputs:
    """Return images and labels in one form, checked against a classifier.

    Args:
        data: Images and labels in any form. Labels of an `ImageDataset`, and of a dataset with
            class names, are reordered to the classifier's classes by their names.
        model: The classifier.
        name: The caller's name of this argument, for error messages.
        uses_weights: Whether the caller uses the weights of images, which a dataset may have.
        lenient: Whether images that fill little of the model's range of values cause a warning
            instead of an error.

    Raises:
        DataError: Images or labels don't fit the model.

    Warns:
        UserWarning: The images have weights, and the caller does not use them.
    """
    checked = batches.validate(
        data.reorder(class_names(model)) if isinstance(data, ImageDataset) else data,
        name=name,
        input_shape=model.input_shape,
        num_classes=model.output_shape[-1],
        value_range=value_range(model),
        class_names=class_names(model),
        lenient=lenient,
        multi_label=is_multi_label(model),
    )
    if isinstance(checked, CheckedBatches) and checked.has_weights and not uses_weights:
        user_warnings.warn(
            f"`{name}` has a weight for each image, which is not used here: every image counts "
            "the same."
        )
    return checked


def adopt_class_names(model: keras.Model, data: Data) -> None:
    """Set the class names of a classifier without names to those of its training data.

    Args:
        model: The classifier; one that has class names keeps them.
        data: Images and labels in any form.
    """
    layer = probabilities_of(model)
    names = data.class_names if isinstance(data, ImageDataset) else find_class_names(data)
    fit = len(names) == len(layer.class_names) and not set(names) & set(layer.class_names)
    if fit and is_unnamed(layer.class_names):
        layer.class_names = tuple(names)


def validate_arrays(
    data: Data, model: keras.Model, name: str = "data", *, lenient: bool = False
) -> Arrays:
    """Return images that can be indexed and their labels, checked against a classifier.

    A dataset of batches is read into memory, up to 1 GiB of images.

    Args:
        data: As for `validate`.
        model: As for `validate`.
        name: As for `validate`.
        lenient: As for `validate`.

    Raises:
        DataError: Images or labels don't fit the model, or a dataset is too large.
    """
    return batches.to_arrays(validate(data, model, name, lenient=lenient), name)


def soften_labels(
    data: Inputs, layers: Sequence[keras.layers.Layer], model: keras.Model, name: str = "data"
) -> Inputs:
    """Return data with one-hot labels if layers mix labels; otherwise the data is unchanged.

    Args:
        data: Images and labels in one form.
        layers: The layers of the augmentation.
        model: The classifier.
        name: The caller's name of this argument, for error messages.

    Raises:
        ConfigError: Labels are mixed, and a dataset of batches has class indices.
    """
    if not augmentation.mixes_labels(layers):
        return data
    if isinstance(data, CheckedBatches):
        if not data.has_one_hot:
            raise ConfigError(
                f"`{name}` labels must be one-hot for MixUp and CutMix, got class indices. Map the "
                "dataset with keras.ops.one_hot, or pass arrays."
            )
        return data
    images, labels = data
    if checks.is_one_hot(labels):
        return data
    return images, batches.one_hot(labels, model.output_shape[-1])


# The model states whether an image can have several classes. The shape of the labels does not,
# since one-hot rows have a column for each class too. So labels pass through this function before
# they are compared with predictions: afterwards one-hot rows are class indices, and an axis of
# classes means multi-label.
def true_labels(model: keras.Model, labels: np.ndarray) -> np.ndarray:
    """Return class indices `(count,)`, or for a multi-label classifier rows of 0 and 1.

    Args:
        model: The classifier.
        labels: Labels that fit it, in any form.
    """
    if is_multi_label(model):
        return np.asarray(labels, "int64")
    return batches.label_indices(labels)


def check_augmentation(
    model: keras.Model, layers: Sequence[keras.layers.Layer], data: Inputs
) -> None:
    """Check on the first images that the augmented images still fit the classifier.

    Args:
        model: The classifier.
        layers: The layers of the augmentation; their random states are restored.
        data: Images and labels in one form.

    Raises:
        ConfigError: The augmented images don't fit.
    """
    pixels = value_range(model)
    if not layers or pixels is None:
        return
    images = next(batches.batches(data, _AUGMENTED))[0][:_AUGMENTED]
    with temporary_seed(layers, 0):
        augmentation.check_augmentation(
            layers, chunks.fit_channels(images, len(model.input_shape)), pixels
        )
