"""Build a classifier from a backbone and a head, freeze its layers, save it and load it.

Start reading in `builder.py`, which joins the layers of `layers.py` and a backbone of
`backbones.py` into one Keras model. `freezing.py` chooses layers, `blocks.py` finds where
blocks end, and `saving.py` writes and reads `.keras` files.

Public: the names in `__init__.pyi`, and `tlkit.freezing`. The package imports only `_internal`, and
no data set; `caching` and all packages above it import this package.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
