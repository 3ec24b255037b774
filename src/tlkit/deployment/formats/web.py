"""A web page: a folder that classifies images in a browser, with an ONNX file in it."""

from pathlib import Path

from tlkit.deployment.formats import onnx
from tlkit.deployment.graph import Graph
from tlkit.deployment.runtimes import WEB_MODEL
from tlkit.deployment.web.page import write_page

EXTENSION = ""
BY_ENDING = False
PRECISIONS = ("float32",)
NEEDS = onnx.NEEDS
NEEDS_ON = onnx.NEEDS_ON


def write(graph: Graph, path: Path) -> None:
    """Write a classifier as ONNX, and the page that runs it."""
    path.mkdir()
    onnx.write(graph, path / WEB_MODEL)
    write_page(graph, path)
