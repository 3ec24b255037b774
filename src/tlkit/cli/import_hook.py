"""Do something while a package is imported, wherever that happens first."""

import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from types import ModuleType
from typing import Any


@contextmanager
def while_importing(
    package: str, context: Callable[[], AbstractContextManager[Any]]
) -> Iterator[None]:
    """Load a package within a context, if the block is the first that imports it.

    Args:
        package: The name of a package at the top level.
        context: Returns the context in which it is loaded.
    """
    finder = _Finder(package, context)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.meta_path.remove(finder)


class _Finder:
    """Finds a package as Python does, and loads it within a context."""

    def __init__(self, package: str, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._package, self._context = package, context

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load the package; None for any other module."""
        if name != self._package:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        load = loader.exec_module

        def load_within(module: ModuleType) -> None:
            with self._context():
                load(module)

        loader.exec_module = load_within
        return spec
