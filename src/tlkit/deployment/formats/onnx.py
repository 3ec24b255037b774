"""ONNX, for ONNX Runtime and much else; needs the extra `onnx`."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tlkit._internal.optional import require
from tlkit.caching.engines.compilers import to_onnx
from tlkit.deployment.graph import INPUT, OUTPUT, to_function

EXTENSION = ".onnx"


def write(model: keras.Model, path: Path) -> None:
    """Write a classifier as an ONNX file."""
    path.write_bytes(to_onnx(to_function(model)).SerializeToString())


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the exported classifier as a function from images to probabilities."""
    onnxruntime = require("onnxruntime", extra="onnx")
    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run([OUTPUT], {INPUT: images})[0])
