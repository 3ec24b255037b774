"""A classifier as a TensorFlow function with its weights as constants."""

import importlib
from typing import Any

import keras

from tlkit.models.inspection import value_range

INPUT, OUTPUT = "images", "probabilities"
"""The names that an exported file gives to its input and its output."""


def to_function(model: keras.Model) -> Any:
    """Return a classifier's inference as a concrete function of any number of images.

    It takes uint8 images if black and white are 0 and 255 for the model, else float32. The model
    is run with `training=False`: Keras' own export runs some preprocessing layers in training
    mode.
    """
    tensorflow = importlib.import_module("tensorflow")
    dtype = "uint8" if value_range(model) == (0, 255) else "float32"
    weights = [
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    def forward(images: Any) -> dict[str, Any]:
        pixels = tensorflow.cast(images, model.inputs[0].dtype)
        # constants made in here are part of the graph; made outside they would be inputs of it
        constants = tensorflow.nest.map_structure(tensorflow.constant, weights)
        outputs, _ = model.stateless_call(*constants, pixels, training=False)
        return {OUTPUT: outputs}

    signature = [tensorflow.TensorSpec((None, *model.input_shape[1:]), dtype, name=INPUT)]
    return tensorflow.function(forward, input_signature=signature, autograph=False)
