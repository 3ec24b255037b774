"""The classifier: its layers, its backbone, how they are joined, frozen, saved and loaded.

Start reading in `builder.py`, which joins the layers of `layers.py` and a backbone of
`backbones.py` into one Keras model. `freezing.py` chooses layers, `blocks.py` finds where
blocks end, and `saving.py` writes and reads `.keras` files.

Public: what `__init__.pyi` lists, and `tlkit.freezing`.
The package imports `_internal` and knows no data set; `caching` and all packages above it import
it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
