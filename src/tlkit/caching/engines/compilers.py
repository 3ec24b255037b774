"""Compile a frozen model with LiteRT, ONNX Runtime or OpenVINO.

The compilers get the model as a graph with constant weights, so that they fold BatchNormalization
into the convolutions. To add a compiler, write a function like `_compile_litert`, add an entry to
`COMPILERS`, and its name to `tlkit.caching.cache.EngineName`.
"""

import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from joblib import cpu_count

from tlkit._internal import runtimes
from tlkit._internal.optional import installed, require
from tlkit._internal.runtimes import LITERT
from tlkit._internal.temporaries import temporary_folder

Run = Callable[[np.ndarray], list[np.ndarray]]
"""Runs a batch of the size that it was compiled for; returns one float array per output."""

_INPUT = "images"
_OUTPUT = "output_{}"
_OPSET = 18  # the newest that tf2onnx supports


def compile_trunk(
    name: str, trunk: keras.Model, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Run:
    """Compile a model for batches of one shape.

    Args:
        name: A key of `COMPILERS`.
        trunk: The model; later changes of its weights have no effect.
        shape: The shape of a batch of images.
        dtype: The dtype of the images.

    Raises:
        MissingExtraError: The engine is not installed.
        Exception: The engine can't run the model; each has its own classes of errors.
    """
    with silence():
        return COMPILERS[name].compile(freeze_weights(trunk, shape, dtype))


def get_version(name: str) -> str:
    """Return the version of the package that runs the compiled model.

    Raises:
        MissingExtraError: The package is not installed.
    """
    return COMPILERS[name].get_version()


@contextmanager
def silence() -> Iterator[None]:
    """Discard logs, and all output to stdout and stderr inside the block, even that of C++."""
    level = logging.root.manager.disable
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it is None under pythonw
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
            _redirect_handlers(nowhere, sys.__stderr__)


def _redirect_handlers(stream: Any, to: Any) -> None:
    """Redirect log handlers that write to one stream to another stream."""
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", ()):
            if vars(handler).get("stream") is stream:
                handler.setStream(to)


def freeze_weights(
    model: keras.Model,
    shape: tuple[int | None, ...],
    dtype: np.dtype[Any] | str,
) -> Any:
    """Return a model's inference as a TensorFlow function with constant weights.

    Args:
        model: The model; later changes of its weights have no effect.
        shape: The shape of a batch of images; its first length may be None.
        dtype: The dtype of the images.
    """
    tensorflow = importlib.import_module("tensorflow")
    weights = [
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    def forward(images: Any) -> dict[str, Any]:
        constants = tensorflow.nest.map_structure(tensorflow.constant, weights)
        outputs, _ = model.stateless_call(*constants, images, training=False)
        named = enumerate(keras.tree.flatten(outputs))
        return {_OUTPUT.format(index): output for index, output in named}

    signature = [tensorflow.TensorSpec(shape, dtype, name=_INPUT)]
    return tensorflow.function(forward, input_signature=signature, autograph=False)


def _sort_outputs(outputs: Any, count: int) -> list[np.ndarray]:
    """Return named outputs as a list: compilers preserve the outputs' names, not their order."""
    return [outputs[_OUTPUT.format(index)] for index in range(count)]


def to_litert(function: Any) -> bytes:
    """Return a TensorFlow function as a LiteRT model."""
    tensorflow = importlib.import_module("tensorflow")
    frozen = function.get_concrete_function()
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions(
        [frozen], tensorflow.Module()
    )
    return bytes(converter.convert())


def _compile_litert(function: Any) -> Run:
    program = runtimes.start_litert(to_litert(function), num_threads=cpu_count())
    runner = program.get_signature_runner()
    count = len(function.get_concrete_function().structured_outputs)
    return lambda images: _sort_outputs(runner(**{_INPUT: images}), count)


def to_onnx(function: Any) -> Any:
    """Return a TensorFlow function as an ONNX model with the function's own inputs and outputs.

    Tensors inside a layer, such as the mean in Normalization, become constants first, since tf2onnx
    would turn them into inputs of the model.

    Raises:
        MissingExtraError: tf2onnx is not installed.
    """
    tf2onnx = require("tf2onnx", extra="onnx")
    constants = importlib.import_module("tensorflow.python.framework.convert_to_constants")
    concrete = function.get_concrete_function()
    frozen = constants.convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    inputs = [each.name for each in frozen.inputs]
    outputs = [each.name for each in frozen.outputs]
    names = dict(zip(outputs, sorted(concrete.structured_outputs), strict=True))
    names |= {name: name.partition(":")[0] for name in inputs}
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=inputs,
        output_names=outputs,
        opset=_OPSET,
        tensors_to_rename=names,
    )
    _replace_erfc(model.graph)
    return model


# TensorFlow computes the GELU activation of transformers with the complementary error function.
# ONNX lacks it, and tf2onnx does not replace it: erfc(x) = 1 - erf(x).
def _replace_erfc(graph: Any) -> None:
    """Replace `Erfc` operations in a graph by operations that ONNX has."""
    helper = require("onnx", extra="onnx").helper
    for node in [each for each in graph.node if each.op_type == "Erfc"]:
        one, inner = f"{node.name}/one", f"{node.name}/erf"
        graph.initializer.append(helper.make_tensor(one, 1, [1], [1.0]))
        at = list(graph.node).index(node)
        graph.node.insert(at, helper.make_node("Sub", [one, inner], node.output))
        graph.node.insert(at, helper.make_node("Erf", node.input, [inner]))
        graph.node.remove(node)


def _compile_onnxruntime(function: Any) -> Run:
    model = to_onnx(function)
    names = [_OUTPUT.format(index) for index in range(len(model.graph.output))]
    session = runtimes.start_onnx(model.SerializeToString(), num_threads=cpu_count())
    return lambda images: session.run(names, {_INPUT: images})


def _compile_openvino(function: Any) -> Run:
    frozen = function.get_concrete_function()
    compiled = runtimes.compile_openvino(to_openvino(function), num_threads=cpu_count())
    count = len(frozen.structured_outputs)
    return lambda images: _sort_outputs(compiled([images]), count)


def to_openvino(function: Any) -> Any:
    """Return a TensorFlow function as a model of OpenVINO.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    tensorflow = importlib.import_module("tensorflow")
    core = runtimes.import_openvino().Core()
    frozen = function.get_concrete_function()
    with temporary_folder() as folder:
        tensorflow.saved_model.save(tensorflow.Module(), str(folder), signatures=frozen)
        return core.read_model(str(folder))


def _read_version(name: str, import_module: Callable[[], ModuleType]) -> str:
    """Return a package's version, without importing the package if it is installed by that name."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # onnxruntime-gpu, or not installed
        return str(import_module().__version__)


def _get_litert_version() -> str:
    return importlib.metadata.version("ai-edge-litert" if installed(LITERT) else "tensorflow")


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """One compiler.

    Attributes:
        modules: The modules that must be installed.
        compile: Compiles a TensorFlow function with constant weights.
        get_version: Returns the version of its package.
    """

    modules: tuple[str, ...]
    compile: Callable[[Any], Run]
    get_version: Callable[[], str]


COMPILERS = {
    "litert": Compiler(
        modules=("tensorflow",), compile=_compile_litert, get_version=_get_litert_version
    ),
    "onnxruntime": Compiler(
        modules=("onnxruntime", "tf2onnx"),
        compile=_compile_onnxruntime,
        get_version=partial(_read_version, "onnxruntime", runtimes.import_onnxruntime),
    ),
    "openvino": Compiler(
        modules=("openvino",),
        compile=_compile_openvino,
        get_version=partial(_read_version, "openvino", runtimes.import_openvino),
    ),
}
"""All compilers, by the engine's name."""
