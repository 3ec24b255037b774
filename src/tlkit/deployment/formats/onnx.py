"""ONNX, for ONNX Runtime, Triton and much else; needs the extra `onnx`."""

from pathlib import Path

from tlkit.caching.engines.compilers import to_onnx
from tlkit.deployment.graph import Graph, to_function
from tlkit.deployment.metadata import KEY

EXTENSION = ".onnx"
BY_ENDING = True
PRECISIONS = ("float32",)
NEEDS: dict[str, str] = {"tf2onnx": "onnx", "onnxruntime": "onnx"}


def write(graph: Graph, path: Path) -> None:
    """Write a classifier as an ONNX file, with its metadata as a property of the model."""
    model = to_onnx(to_function(graph))
    model.metadata_props.add(key=KEY, value=graph.metadata.to_json())
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    path.write_bytes(model.SerializeToString())
