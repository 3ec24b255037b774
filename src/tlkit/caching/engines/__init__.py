"""Engines that run the frozen part of a model: Keras, and compilers checked against Keras.

Start reading in `selection.py`. `keras_engine.py` is the default; `compilers.py` has LiteRT, ONNX
Runtime and OpenVINO, each in an optional package. "Add an engine" in CONTRIBUTING.md shows how to
add another engine.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
