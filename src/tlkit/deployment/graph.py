"""A classifier as a TensorFlow function, and the names of what goes in and comes out."""

from typing import Any

import keras

from tlkit.caching.engines.compilers import freeze_weights
from tlkit.models.inspection import value_range

INPUT, OUTPUT = "images", "probabilities"
"""The names that an exported file gives to its input and its output."""


def input_dtype(model: keras.Model) -> str:
    """Return "uint8" if black and white are 0 and 255 for a classifier, else "float32"."""
    return "uint8" if value_range(model) == (0, 255) else "float32"


def to_function(model: keras.Model) -> Any:
    """Return a classifier's inference as a function of any number of images.

    The model is run with `training=False`: Keras' own export runs some preprocessing layers in
    training mode.
    """
    shape = (None, *model.input_shape[1:])
    return freeze_weights(model, shape, input_dtype(model), output_name=OUTPUT)
