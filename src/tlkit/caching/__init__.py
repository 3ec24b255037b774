"""Run the frozen part of a model once: choose the cut and the engine, and store the features.

Start reading in `cache.py` (the settings, and the summary of a run), then `plan.py`, which decides
whether and where a model is cut. `partition.py` finds the cut, `extraction.py` runs the frozen part
by one of `engines`, `store.py` keeps its features on disk, and `tail.py` is the model after the
cut.

Public: the names in `__init__.pyi`. The package imports `data` and `models`; it has cuts and
features, but no training phases. `training` and all packages above it import this package.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
