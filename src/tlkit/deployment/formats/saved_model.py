"""TensorFlow's SavedModel, a folder: for TensorFlow Serving."""

import importlib
from pathlib import Path

from tlkit.deployment.graph import Graph, to_function
from tlkit.deployment.runtimes import SAVED_MODEL_METADATA

EXTENSION = ""
BY_ENDING = True
PRECISIONS = ("float32",)
NEEDS: dict[str, str] = {}
NEEDS_ON: dict[str, dict[str, str]] = {}


def write(graph: Graph, path: Path) -> None:
    """Write a classifier with one signature, `serving_default`, and its metadata as an asset."""
    tensorflow = importlib.import_module("tensorflow")
    function = to_function(graph).get_concrete_function()
    tensorflow.saved_model.save(tensorflow.Module(), str(path), signatures=function)
    text = path / SAVED_MODEL_METADATA
    text.parent.mkdir()
    text.write_text(graph.metadata.to_json(), encoding="utf-8")
