"""Start LiteRT, ONNX Runtime and OpenVINO, without Keras and without telemetry."""

import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from tlkit._internal.optional import installed, require

LITERT = "ai_edge_litert.interpreter"


def start_litert(model: Path | bytes, *, num_threads: int) -> Any:
    """Return an interpreter of LiteRT, from ai-edge-litert or else from TensorFlow.

    Args:
        model: A `.tflite` file, or its content.
        num_threads: How many threads the interpreter uses.

    Raises:
        MissingExtraError: Neither package is installed.
    """
    tensorflow = not installed(LITERT) and installed("tensorflow")
    package = require("tensorflow", extra="litert").lite if tensorflow else None
    package = package or require(LITERT, extra="litert")
    where = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    with warnings.catch_warnings():
        message = r"\s*Warning: tf\.lite\.Interpreter is deprecated"
        warnings.filterwarnings("ignore", message, UserWarning)
        return package.Interpreter(**where, num_threads=num_threads)


def start_onnx(model: Path | bytes, *, num_threads: int) -> Any:
    """Return a session of ONNX Runtime on the CPU.

    Args:
        model: An `.onnx` file, or its content.
        num_threads: How many threads one operator uses.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    # a thread that spins while waiting takes a core from the thread that prepares the next batch
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime without its telemetry.

    Its telemetry reports to Microsoft, and writes an identifier to the home folder at import.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    module = require("onnxruntime", extra="onnx")
    module.disable_telemetry_events()
    return module


def compile_openvino(model: Any, *, num_threads: int) -> Any:
    """Return an OpenVINO model compiled for the CPU, in float32.

    Args:
        model: A model returned by OpenVINO's `read_model`.
        num_threads: How many threads it uses.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on processors that have it
        "INFERENCE_NUM_THREADS": num_threads,
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
    }
    return import_openvino().Core().compile_model(model, "CPU", settings)


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry package.

    That package reports to Google Analytics and writes to the home folder at import; OpenVINO works
    without it.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    if {"openvino", "openvino_telemetry"} & sys.modules.keys():
        return require("openvino", extra="openvino")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # marks it as not installed
    try:
        return require("openvino", extra="openvino")
    finally:
        del sys.modules["openvino_telemetry"]
