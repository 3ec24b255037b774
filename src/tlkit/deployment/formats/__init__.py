"""One module for each export format, with the name of the format.

A module has `EXTENSION` (the suffix of the exported path; empty for a folder), `BY_ENDING` (whether
this suffix chooses the format if no format is named), `PRECISIONS` (which it can write), `NEEDS`
(the modules that writing and running need beyond TensorFlow, with the extra that installs each),
`NEEDS_ON` (the same for each other backend of Keras that can write it, in float32) and
`write(graph, path)`. `deployment.runtimes` runs the files.

Start reading in `onnx.py`. Public: `names`, `get`, `backends` and `check_installed`. A format
imports `deployment.graph`; `deployment.exporter` imports this package.
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
def backends(name: str) -> tuple[str, ...]:
    """Return the backends of Keras on which a format can be written.

    Examples:
        >>> backends("onnx")
        ('tensorflow', 'torch')
    """
    return ("tensorflow", *get(name).NEEDS_ON)


@check_arguments
def check_installed(name: str, backend: str = "tensorflow") -> None:
    """Check that the packages of a format are installed, before a classifier is converted.

    Args:
        name: The format.
        backend: The backend that Keras runs on, one of `backends(name)`.

    Raises:
        ConfigError: The format can't be written on this backend.
        MissingExtraError: A package is missing; the message is the command that installs it.
    """
    module = get(name)
    needs = {"tensorflow": module.NEEDS, **module.NEEDS_ON}
    for package, extra in needs[arguments.one_of("backend", backend, needs)].items():
        if not installed(package):
            require(package, extra=extra)
