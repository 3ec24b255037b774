"""One module for each export format; its name is the format's.

A module has `EXTENSION` (what the exported path ends in; empty for a folder), `BY_ENDING` (whether
that ending chooses the format where none is named), `PRECISIONS` (which it can write), `NEEDS` (the
modules that writing and running need beyond TensorFlow, with the extra that brings each) and
`write(graph, path)`. How a file is run is in `deployment.runtimes`.

Start reading in `onnx.py`. Public: `names`, `get` and `check_installed`. A format imports
`deployment.graph`; `deployment.exporter` imports this package.
"""

import importlib
import pkgutil
from types import ModuleType

from tlkit._internal import arguments
from tlkit._internal.optional import installed, require
from tlkit._internal.signatures import check_arguments


def names() -> tuple[str, ...]:
    """Return the name of every format, sorted.

    Examples:
        >>> names()
        ('keras', 'litert', 'onnx', 'openvino', 'saved_model', 'web')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@check_arguments
def get(name: str) -> ModuleType:
    """Return the module of a format."""
    known = arguments.one_of("name", name, names())
    return importlib.import_module(f"{__name__}.{known}")


@check_arguments
def check_installed(name: str) -> None:
    """Check that what a format needs is installed, before a classifier is converted.

    Raises:
        MissingExtraError: It is not; the error says the command that installs it.
    """
    for module, extra in get(name).NEEDS.items():
        if not installed(module):
            require(module, extra=extra)
