"""The frozen part of a model, run once: where to cut, what runs it, where features are stored.

Start reading in `cache.py` (the settings, and what a run reports), then `plan.py`, which decides
whether and where a model is cut. `partition.py` finds the cut, `extraction.py` runs the frozen part
by one of `engines`, `store.py` keeps its features on disk, and `tail.py` is the model after the
cut.

Public: what `__init__.pyi` lists.
The package imports `data` and `models` and knows no phases, only cuts and features; `training` and
all packages above it import it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
