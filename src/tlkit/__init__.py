"""Transfer learning for image classification on Keras 3.

The names of `__init__.pyi` are public, and are imported when they are first used, so that `import
tlkit` needs no Keras. The packages, in the order in which images pass through them: `data`,
`models`, `caching`, `training`, `evaluation`, `plotting`, `reports`, `experiments`, `cli`.
`tlkit.errors` is the tree of exceptions. Each package's docstring says where to start reading.
"""

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
