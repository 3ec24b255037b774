"""ONNX, for ONNX Runtime, Triton and other software; needs the extra `onnx`."""

from pathlib import Path
from typing import Any

import keras

from tlkit.caching.engines import compilers
from tlkit.deployment import torch_graph
from tlkit.deployment.graph import Graph, to_function
from tlkit.deployment.metadata import KEY

EXTENSION = ".onnx"
BY_ENDING = True
PRECISIONS = ("float32",)
NEEDS: dict[str, str] = {"tf2onnx": "onnx", "onnxruntime": "onnx"}
NEEDS_ON: dict[str, dict[str, str]] = {"torch": {**torch_graph.NEEDS, "onnxruntime": "onnx"}}


def write(graph: Graph, path: Path) -> None:
    """Write a classifier as an ONNX file, with its metadata as a property of the model."""
    model = convert(graph)
    model.metadata_props.add(key=KEY, value=graph.metadata.to_json())
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    path.write_bytes(model.SerializeToString())


def convert(graph: Graph) -> Any:
    """Return a classifier as an ONNX model."""
    if keras.config.backend() == "torch":
        return torch_graph.to_onnx(graph)
    return compilers.to_onnx(to_function(graph))
