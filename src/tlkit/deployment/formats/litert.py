"""LiteRT (TensorFlow Lite), for phones, small machines and browsers."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tlkit._internal.optional import installed
from tlkit.deployment.graph import INPUT, OUTPUT, to_function

EXTENSION = ".tflite"
_RUNTIME = "ai_edge_litert.interpreter"


def write(model: keras.Model, path: Path) -> None:
    """Write a classifier as a flat buffer of float32 weights."""
    tensorflow = importlib.import_module("tensorflow")
    function = to_function(model).get_concrete_function()
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions(
        [function], tensorflow.Module()
    )
    path.write_bytes(converter.convert())


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the exported classifier as a function from images to probabilities."""
    own = installed(_RUNTIME)
    package = importlib.import_module(_RUNTIME if own else "tensorflow")
    package = package if own else package.lite
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        runner = package.Interpreter(model_path=str(path)).get_signature_runner()
    return lambda images: np.asarray(runner(**{INPUT: images})[OUTPUT])
