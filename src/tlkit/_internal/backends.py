"""The package that Keras computes with: its version, and the error if it is not installed."""

import sys

from tlkit._internal.optional import installed
from tlkit.errors import MissingExtraError

BACKENDS = ("tensorflow", "jax", "torch")
"""The backends that Keras trains on; each is also the name of its package."""


def package_versions(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed.

    Examples:
        >>> list(package_versions("numpy", "no-such-package"))
        ['numpy']
    """
    from importlib import metadata  # slow, and `import tlkit` imports this module

    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def explain_missing(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return an error that says what to install if Keras' backend is missing, else None.

    Args:
        error: The error of importing Keras, or a module that imports Keras.
    """
    backend = (error.name or "").split(".")[0]
    is_starting = not hasattr(sys.modules.get("keras"), "config")
    if backend not in BACKENDS or installed(backend) or not is_starting:
        return None
    others = [name for name in BACKENDS if installed(name)]
    choose = f"Set the environment variable KERAS_BACKEND={others[0]}, or run" if others else "Run"
    return MissingExtraError(
        f"Keras is set to run on {backend!r}, which is not installed; of its backends, "
        f"{' and '.join(others) or 'none'} {'are' if len(others) > 1 else 'is'} installed. "
        f"{choose}: pip install 'tlkit[{backend}]'"
    )
