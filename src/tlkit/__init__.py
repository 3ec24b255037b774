"""Transfer learning for image classification on Keras 3.

The names of `__init__.pyi` are public. They are imported when they are first used, so that `import
tlkit` needs no Keras. The packages, in the order in which images pass through them: `data`,
`models`, `caching`, `training`, `evaluation`, `plotting`, `reports`, `deployment`, `distributed`,
`experiments`, `cli`. `tlkit.errors` is the tree of exceptions. Each package's docstring names the
file to read first.
"""

from types import ModuleType
from typing import Any

from tlkit._internal import lazy

try:
    import wrapt
except ModuleNotFoundError:  # installed without dependencies, for `tlkit.deployment.Predictor`
    wrapt = None  # type: ignore[assignment]

_import, __dir__, __all__ = lazy.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used; look up the version then too, which is slow."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tlkit")
    return _import(name)


def _register_layers(_: ModuleType) -> None:
    """Let Keras find tlkit's layers in a saved model as soon as Keras is imported."""
    from tlkit.models import layers, token_backbone  # noqa: F401  # importing registers them


if wrapt is not None:
    wrapt.when_imported("keras")(_register_layers)
