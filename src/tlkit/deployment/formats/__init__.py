"""One module for each export format; its name is the format's.

A module has `EXTENSION` (what the exported path ends in; empty for a folder), `write(model, path)`,
and `load(path)`, which returns a function from a batch of raw images to probabilities.

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
        ('litert', 'onnx', 'saved_model')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> ModuleType:
    """Return the module of a format."""
    return importlib.import_module(f"{__name__}.{name}")
