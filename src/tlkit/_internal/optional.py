"""The only module that imports packages of extras; its error is the command that installs them."""

import importlib
import importlib.util
import sys
import warnings
from importlib.machinery import PathFinder
from types import ModuleType

from tlkit.errors import MissingExtraError

_WITH_BARS = ("huggingface_hub", "keras_hub", "optuna")


def require(module: str, *, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: The module's full name.
        extra: The extra of tlkit that installs the package.

    Raises:
        MissingExtraError: The package is not installed. If it is installed but lacks another
            package, Python's own error states which.
    """
    if module.split(".")[0] in _WITH_BARS:
        _import_bars()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise MissingExtraError(
            f"{module!r} is not installed. Run: pip install 'tlkit[{extra}]'"
        ) from error


def _import_bars() -> None:
    """Import the bars of other packages, without the warning that a notebook has no widgets.

    These packages import them on first use, so the warning would come in the middle of a training.
    """
    if "IPython" not in sys.modules or not installed("tqdm.auto"):
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        importlib.import_module("tqdm.auto")


def installed(module: str) -> bool:
    """Return whether a module could be imported, without importing it or its package.

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
