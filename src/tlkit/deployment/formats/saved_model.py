"""TensorFlow's SavedModel, a folder: for TensorFlow Serving."""

import importlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tlkit.deployment.graph import INPUT, OUTPUT, to_function

EXTENSION = ""


def write(model: keras.Model, path: Path) -> None:
    """Write a classifier with one signature, `serving_default`."""
    tensorflow = importlib.import_module("tensorflow")
    function = to_function(model).get_concrete_function()
    tensorflow.saved_model.save(tensorflow.Module(), str(path), signatures=function)


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the exported classifier as a function from images to probabilities."""
    tensorflow = importlib.import_module("tensorflow")
    served = tensorflow.saved_model.load(str(path)).signatures["serving_default"]
    return lambda images: np.asarray(served(**{INPUT: tensorflow.constant(images)})[OUTPUT])
