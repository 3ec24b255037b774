"""Images and labels checked against the classifier that they are for."""

import keras

from tlkit import data
from tlkit.classifier import class_names, image_range
from tlkit.source import Source


def checked(pairs: data.Data | Source, model: keras.Model, name: str) -> data.Data:
    """Return images and labels where they fit a classifier.

    Args:
        pairs: `(images, labels)`, a dataset of such batches, or a `Source`, whose classes are
            brought into the classifier's order by their names.
        model: The classifier.
        name: What the caller calls them, for the message.

    Raises:
        DataError: Something doesn't fit; the message says what.
    """
    given = pairs.named(class_names(model)).pair if isinstance(pairs, Source) else pairs
    return data.checked(
        given,
        name=name,
        input_shape=model.input_shape,
        num_classes=model.output_shape[-1],
        image_range=image_range(model),
    )
