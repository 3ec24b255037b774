"""One module for each export format; its name is the format's.

A module has `EXTENSION` (what the exported path ends in; empty for a folder), `PRECISIONS` (which
it can write) and `write(graph, path)`. How a file is run is in `deployment.runtimes`.

Start reading in `onnx.py`. Public: `names` and `get`. A format imports `deployment.graph`;
`deployment.exporter` imports this package.
"""

import importlib
import pkgutil
from types import ModuleType


def names() -> tuple[str, ...]:
    """Return the name of every format, sorted.

    Examples:
        >>> names()
        ('keras', 'litert', 'onnx', 'openvino', 'saved_model')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> ModuleType:
    """Return the module of a format."""
    return importlib.import_module(f"{__name__}.{name}")
