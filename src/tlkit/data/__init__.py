"""Images and labels in one form: read, split, checked for duplicates, augmented.

Start reading in `image_dataset.py`: an `ImageDataset` is what `image_folders.py`, `manifests.py`
and `disk_images.py` make, and what `splits.py` takes apart. `batches.py` checks arrays and Keras
datasets, and every training and evaluation goes through it.

Public: what `__init__.pyi` lists, `tlkit.datasets`, `tlkit.sources` and `tlkit.splits` included.
The package imports `_internal` and knows no network; `caching` and all packages above it import it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
