"""A classifier on Keras' torch backend as an ONNX model, converted by PyTorch's own exporter."""

import importlib
import warnings
from typing import Any

import keras

from tlkit.deployment.graph import Graph
from tlkit.deployment.metadata import INPUT, OUTPUT, SCORE

NEEDS: dict[str, str] = {"onnxscript": "torch"}
"""The module that PyTorch's exporter needs, with the extra that installs it."""

_SAMPLES = 2  # PyTorch would make the size of a batch of one image a constant
_SIDE = 32  # pixels, if a classifier takes images of any size


def to_onnx(graph: Graph) -> Any:
    """Return a classifier as an ONNX model of any number of images, with its weights inside."""
    torch = importlib.import_module("torch")
    about = graph.metadata
    shape = [side or _SIDE for side in about.input_shape[1:]]
    dynamic = {at: torch.export.Dim.AUTO for at, side in enumerate(about.input_shape) if not side}
    names = [OUTPUT, *([SCORE] if about.has_ood_score else [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these are about the code of Keras and PyTorch
        program = torch.onnx.export(
            _to_module(graph.plain.whole, names),
            (torch.zeros((_SAMPLES, *shape), dtype=getattr(torch, about.input_dtype)),),
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes=(dynamic,),
            dynamo=True,
            verbose=False,
        )
    return program.model_proto


def _to_module(model: keras.Model, names: list[str]) -> Any:
    """Return a module of PyTorch that runs a model's inference, with its outputs in this order."""
    torch = importlib.import_module("torch")

    class Inference(torch.nn.Module):  # type: ignore[name-defined]  # known only at run time
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any) -> tuple[Any, ...]:
            outputs = self.model(images, training=False)
            return tuple(outputs[name] for name in names)

    return Inference().eval()
