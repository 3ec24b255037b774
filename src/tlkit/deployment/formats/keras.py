"""Plain Keras: a `.keras` file of Keras' own layers, which loads without tlkit."""

import zipfile
from pathlib import Path

from tlkit._internal.keras_private import owned_temporary_folders
from tlkit.deployment.graph import Graph
from tlkit.deployment.runtimes import KERAS_METADATA

EXTENSION = ".keras"
BY_ENDING = True
PRECISIONS = ("float32",)
NEEDS: dict[str, str] = {}
NEEDS_ON: dict[str, dict[str, str]] = {"jax": {}, "torch": {}}


def write(graph: Graph, path: Path) -> None:
    """Write a classifier as a model of Keras, and its metadata into the same zip file."""
    with owned_temporary_folders():
        graph.plain.whole.save(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(KERAS_METADATA, graph.metadata.to_json())
