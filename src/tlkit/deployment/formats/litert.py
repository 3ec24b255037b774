"""LiteRT (TensorFlow Lite), for phones, small machines and browsers."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tlkit.caching.engines.compilers import start_litert, to_litert
from tlkit.deployment.graph import INPUT, OUTPUT, to_function

EXTENSION = ".tflite"


def write(model: keras.Model, path: Path) -> None:
    """Write a classifier as a flat buffer of float32 weights."""
    path.write_bytes(to_litert(to_function(model)))


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the exported classifier as a function from images to probabilities."""
    runner = start_litert(path.read_bytes())
    return lambda images: runner(**{INPUT: images})[OUTPUT]
