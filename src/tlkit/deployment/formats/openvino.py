"""OpenVINO, for processors, graphics and NPUs of Intel; needs the extra `openvino`."""

from pathlib import Path
from typing import Any

import keras

from tlkit._internal import runtimes
from tlkit._internal.optional import require
from tlkit.caching.engines.compilers import to_openvino
from tlkit.deployment import torch_graph
from tlkit.deployment.graph import HEAD, Graph, to_function
from tlkit.deployment.metadata import KEY

EXTENSION = ".xml"
BY_ENDING = True
PRECISIONS = ("float32", "int8")
NEEDS: dict[str, str] = {"openvino": "openvino"}
NEEDS_ON: dict[str, dict[str, str]] = {"torch": {**torch_graph.NEEDS, **NEEDS}}


def write(graph: Graph, path: Path) -> None:
    """Write a classifier as an `.xml` file with its metadata, and a `.bin` file of its weights."""
    model = _convert(graph)
    if graph.metadata.precision == "int8":
        model = _quantize(model, graph)
    model.set_rt_info(graph.metadata.to_json(), [KEY])
    runtimes.import_openvino().save_model(model, path, compress_to_fp16=False)


def _convert(graph: Graph) -> Any:
    if keras.config.backend() == "torch":
        content = torch_graph.to_onnx(graph).SerializeToString()
        return runtimes.import_openvino().Core().read_model(content)
    return to_openvino(to_function(graph))


def _quantize(model: Any, graph: Graph) -> Any:
    nncf = require("nncf", extra="nncf")
    images = list(graph.iterate_calibration())
    return nncf.quantize(
        model,
        nncf.Dataset(images),
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(patterns=[f"(.*/)?{HEAD}/.*"], validate=False),
    )
