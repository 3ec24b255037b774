"""A frozen model as a graph of constants, compiled by LiteRT, ONNX Runtime or OpenVINO.

With its weights as constants, each compiler folds BatchNormalization into the convolutions.
"""

import importlib
import importlib.metadata
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from joblib import cpu_count

from tlkit._internal.optional import installed, require

Run = Callable[[np.ndarray], list[np.ndarray]]
"""Runs one batch of the length it was compiled for; returns one array per output."""

NEEDS = {
    "litert": ("tensorflow",),
    "onnxruntime": ("onnxruntime", "tf2onnx"),
    "openvino": ("openvino",),
}
"""The modules that each compiler imports."""

_LITERT = "ai_edge_litert.interpreter"
_INPUT = "images"
_OUTPUT = "output_{}"
_OPSET = 18  # the newest that tf2onnx knows


def compile_trunk(
    name: str, trunk: keras.Model, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Run:
    """Compile a model for batches of one shape.

    Args:
        name: A key of `NEEDS`.
        trunk: The model; it keeps its weights, changes to them are not seen later.
        shape: A batch of images, the batch length included.
        dtype: Theirs.

    Raises:
        MissingExtraError: The engine is not installed.
        Exception: Whatever the engine raises about a model it can't run.
    """
    compilers = {"litert": _litert, "onnxruntime": _onnxruntime, "openvino": _openvino}
    with quiet():
        return compilers[name](_constant_function(trunk, shape, dtype))


def version(name: str) -> str:
    """Return the version of the package that runs what is compiled.

    Raises:
        MissingExtraError: It is not installed.
    """
    if name == "onnxruntime":
        return str(require("onnxruntime", extra="onnx").__version__)
    if name == "openvino":
        return str(_without_telemetry().__version__)
    return importlib.metadata.version("ai-edge-litert" if installed(_LITERT) else "tensorflow")


@contextmanager
def quiet() -> Iterator[None]:
    """Throw away what is logged, or written to stdout and stderr by any thread, C++ included."""
    level = logging.root.manager.disable
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as under pythonw
            stream.flush()
    kept = os.dup(1), os.dup(2)
    logging.disable(logging.ERROR)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            logging.disable(level)
            for descriptor, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)


def _constant_function(trunk: keras.Model, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return the model as a TensorFlow function that holds its weights as constants."""
    tensorflow = importlib.import_module("tensorflow")
    weights = [
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (trunk.trainable_variables, trunk.non_trainable_variables)
    ]

    def forward(images: Any) -> dict[str, Any]:
        constants = tensorflow.nest.map_structure(tensorflow.constant, weights)
        outputs, _ = trunk.stateless_call(*constants, images, training=False)
        named = enumerate(keras.tree.flatten(outputs))
        return {_OUTPUT.format(index): output for index, output in named}

    signature = [tensorflow.TensorSpec(shape, dtype, name=_INPUT)]
    return tensorflow.function(forward, input_signature=signature, autograph=False)


def _in_order(outputs: Any, count: int) -> list[np.ndarray]:
    """Return outputs by name as a list: compilers keep their names, not their order."""
    return [outputs[_OUTPUT.format(index)] for index in range(count)]


def _litert(function: Any) -> Run:
    tensorflow = importlib.import_module("tensorflow")
    frozen = function.get_concrete_function()
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions(
        [frozen], tensorflow.Module()
    )
    package = importlib.import_module(_LITERT) if installed(_LITERT) else tensorflow.lite
    with warnings.catch_warnings():
        message = r"\s*Warning: tf\.lite\.Interpreter is deprecated"
        warnings.filterwarnings("ignore", message, UserWarning)
        program = package.Interpreter(model_content=converter.convert(), num_threads=cpu_count())
    runner = program.get_signature_runner()
    count = len(frozen.structured_outputs)
    return lambda images: _in_order(runner(**{_INPUT: images}), count)


def _onnxruntime(function: Any) -> Run:
    onnxruntime = require("onnxruntime", extra="onnx")
    onnxruntime.disable_telemetry_events()  # a compiler has no reason to tell anyone
    tf2onnx = require("tf2onnx", extra="onnx")
    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=_OPSET)
    names = [_OUTPUT.format(index) for index in range(len(model.graph.output))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    # a thread that waits by spinning takes the core from whoever prepares the next batch
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(names, {_INPUT: images})


def _openvino(function: Any) -> Run:
    tensorflow = importlib.import_module("tensorflow")
    openvino = _without_telemetry()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on processors that have it
        "INFERENCE_NUM_THREADS": cpu_count(),
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
    }
    frozen = function.get_concrete_function()
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        tensorflow.saved_model.save(tensorflow.Module(), folder, signatures=frozen)
        compiled = core.compile_model(core.read_model(folder), "CPU", settings)
    count = len(frozen.structured_outputs)
    return lambda images: _in_order(compiled([images]), count)


def _without_telemetry() -> ModuleType:
    """Import OpenVINO, which else tells Google Analytics and writes to the home folder.

    It does so when imported, and does without where its telemetry package is missing.
    """
    if {"openvino", "openvino_telemetry"} & sys.modules.keys():
        return require("openvino", extra="openvino")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # Python's "is missing"
    try:
        return require("openvino", extra="openvino")
    finally:
        del sys.modules["openvino_telemetry"]
