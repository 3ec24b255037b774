"""The one place that imports a package of an extra, or says the command that installs it."""

import importlib
import importlib.util
from importlib.machinery import PathFinder
from types import ModuleType

from tlkit.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: Its full name.
        extra: The extra of tlkit that brings the package.

    Raises:
        MissingExtraError: The package is not installed. Where it is, but can't import another one,
            Python's own error says which.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise MissingExtraError(
            f"{module!r} is not installed. Run: pip install 'tlkit[{extra}]'"
        ) from error


def installed(module: str) -> bool:
    """Tell whether a module could be imported, without importing it or a package it is in.

    Examples:
        >>> installed("keras.layers"), installed("keras.no_such_module")
        (True, False)
    """
    package, *inner = module.split(".")
    spec = importlib.util.find_spec(package)
    for name in inner:
        if spec is None:
            break
        package = f"{package}.{name}"
        spec = PathFinder.find_spec(package, spec.submodule_search_locations or [])
    return spec is not None
