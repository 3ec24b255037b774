"""LiteRT (TensorFlow Lite), for phones, small machines and browsers; needs the extra `litert`."""

import importlib
from pathlib import Path
from typing import Any

from tlkit._internal import runtimes
from tlkit.deployment.graph import HEAD, Graph, to_function
from tlkit.deployment.metadata import INPUT, KEY

EXTENSION = ".tflite"
BY_ENDING = True
PRECISIONS = ("float16", "float32", "int8")
NEEDS: dict[str, str] = {runtimes.LITERT: "litert"}
NEEDS_ON: dict[str, dict[str, str]] = {}


def write(graph: Graph, path: Path) -> None:
    """Write a classifier as a flat buffer, with its metadata in one of its buffers."""
    tensorflow = importlib.import_module("tensorflow")
    converter = _create_converter(graph)
    if graph.metadata.precision == "float16":
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tensorflow.float16]
    int8 = graph.metadata.precision == "int8"
    content = _quantize(converter, graph) if int8 else bytes(converter.convert())
    path.write_bytes(_add_metadata(content, graph.metadata.to_json()))


def _create_converter(graph: Graph) -> Any:
    tensorflow = importlib.import_module("tensorflow")
    frozen = to_function(graph).get_concrete_function()
    create = tensorflow.lite.TFLiteConverter.from_concrete_functions
    return create([frozen], tensorflow.Module())


def _quantize(converter: Any, graph: Graph) -> bytes:
    """Return a classifier in int8 except for its head; a float32 file shows the head's tensors."""
    lite = importlib.import_module("tensorflow").lite
    head = _find_head(bytes(_create_converter(graph).convert()))
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        {INPUT: images} for images in graph.iterate_calibration()
    )
    debugger = lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=lambda: iter(()),
        debug_options=lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=head,
            denylisted_ops=["REVERSE_V2"],  # it would get a scale of its own, which it ignores
        ),
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _find_head(content: bytes) -> list[str]:
    """Return the names of the head's tensors, and of the outputs, in a file."""
    interpreter = runtimes.start_litert(content, num_threads=1)
    names = {each["name"] for each in interpreter.get_tensor_details()}
    outputs = {each["name"] for each in interpreter.get_output_details()}
    return sorted(outputs | {name for name in names if name.startswith(f"{HEAD}/")})


def _add_metadata(content: bytes, text: str) -> bytes:
    tools = importlib.import_module("tensorflow.lite.tools.flatbuffer_utils")
    schema = importlib.import_module("tensorflow.lite.python.schema_py_generated")
    model = tools.convert_bytearray_to_object(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(text.encode())
    entry.name, entry.buffer = KEY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    return bytes(tools.convert_object_to_bytearray(model))
