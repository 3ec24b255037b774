"""The frozen part of a model, run once: where to cut, engines, the feature store, the tail."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
