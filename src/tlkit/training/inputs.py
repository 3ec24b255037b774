"""Images and labels checked against the classifier that they are for."""

import keras

from tlkit.data import batches
from tlkit.data.image_dataset import ImageDataset
from tlkit.models.inspection import class_names, value_range


def checked(pairs: batches.Data | ImageDataset, model: keras.Model, name: str) -> batches.Data:
    """Return images and labels where they fit a classifier.

    Args:
        pairs: `(images, labels)`, a dataset of such batches, or a `ImageDataset`, whose classes are
            brought into the classifier's order by their names.
        model: The classifier.
        name: What the caller calls them, for the message.

    Raises:
        DataError: Something doesn't fit; the message says what.
    """
    given = pairs.named(class_names(model)).pair if isinstance(pairs, ImageDataset) else pairs
    return batches.checked(
        given,
        name=name,
        input_shape=model.input_shape,
        num_classes=model.output_shape[-1],
        value_range=value_range(model),
    )
