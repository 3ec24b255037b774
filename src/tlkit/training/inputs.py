"""One door for images and labels: any form in, one form out, checked against the classifier."""

import keras

from tlkit.data import batches
from tlkit.data.batches import Arrays, Data, Inputs
from tlkit.data.image_dataset import ImageDataset
from tlkit.models.inspection import class_names, value_range


def validate(data: Data, model: keras.Model, name: str = "data") -> Inputs:
    """Return images and labels in one form, checked against a classifier.

    Args:
        data: Images and labels in any form. The classes of an `ImageDataset` are brought into the
            classifier's order by their names.
        model: The classifier.
        name: The caller's name of this argument, for error messages.

    Raises:
        DataError: Images or labels don't fit the model.
    """
    return batches.validate(
        data.reorder(class_names(model)) if isinstance(data, ImageDataset) else data,
        name=name,
        input_shape=model.input_shape,
        num_classes=model.output_shape[-1],
        value_range=value_range(model),
    )


def validate_arrays(data: Data, model: keras.Model, name: str = "data") -> Arrays:
    """Return images that can be indexed and their labels, checked against a classifier.

    A dataset of batches is read into memory, up to 1 GiB of images.

    Args:
        data: As for `validate`.
        model: As for `validate`.
        name: As for `validate`.

    Raises:
        DataError: Images or labels don't fit the model, or a dataset is too large.
    """
    return batches.to_arrays(validate(data, model, name), name)
