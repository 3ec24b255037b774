"""Matplotlib figures of images, predictions, training and evaluation.

Start reading in `charts.py`; `image_grids.py` draws images with predictions, and `saliency.py`
shows by Grad-CAM which pixels a prediction depends on. Every function returns a
`matplotlib.figure.Figure`; no function uses pyplot or writes a file.

Public: what `__init__.pyi` lists.
The package imports `evaluation` and the packages below it; `experiments` and `cli` import it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
