"""Transfer learning for image classification on Keras 3."""

from importlib.metadata import version
from types import ModuleType

import lazy_loader
import wrapt

__version__ = version("tlkit")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


@wrapt.when_imported("keras")
def _register_layers(_: ModuleType) -> None:
    """Let Keras find tlkit's layers in a saved model as soon as there is a Keras."""
    from tlkit.models import layers  # noqa: F401  # importing registers them
