"""Import the public names of a package on first use; its `.pyi` stub lists them.

This replaces the package lazy_loader, so that `tlkit.deployment.Predictor` needs only NumPy,
Pillow and the runtime of one format: see decision 24.
"""

import ast
import importlib
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def attach_stub(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package, from the stub beside it.

    If the environment variable EAGER_IMPORT is set, all names are imported at once.

    Args:
        package: The package's `__name__`.
        file: The package's `__file__`; the stub has the suffix `.pyi` and imports each public name
            from a module of the package.

    Examples:
        >>> import tlkit.data
        >>> get, _, names = attach_stub("tlkit.data", tlkit.data.__file__)
        >>> "split" in names, get("split") is tlkit.data.split
        (True, True)
    """
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    modules = {alias.name: node.module for node in imports for alias in node.names}

    def get(name: str) -> Any:
        if name not in modules and (name.startswith("_") or not _is_module(package, name)):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = modules.get(name)  # None if the name is itself a module of the package
        try:
            value = importlib.import_module(f"{package}.{module or name}")
        except ModuleNotFoundError as error:
            from tlkit._internal.backends import explain_missing  # imports tlkit: not at the top

            explained = explain_missing(error)
            if explained is None:
                raise
            raise explained from error
        if module is not None:
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)
        return value

    if os.environ.get("EAGER_IMPORT"):
        for name in modules:
            get(name)
    return get, lambda: sorted(modules), sorted(modules)


def _is_module(package: str, name: str) -> bool:
    return name.isidentifier() and find_spec(f"{package}.{name}") is not None
