"""Export a classifier to the formats of other runtimes, each file checked against `predict`.

Start reading in `exporter`. A format is one module in `formats`; a module that is added there is
found by itself. Public: `export` and `formats`. Imports `evaluation` and below; knows no run
folders. `experiments` and `cli` may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
