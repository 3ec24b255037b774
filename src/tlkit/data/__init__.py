"""Images and labels in one form: read, split, checked for duplicates, augmented.

Start reading in `image_dataset.py`: `image_folders.py`, `manifests.py` and `disk_images.py` create
an `ImageDataset`, and `splits.py` splits it. `batches.py` checks arrays and Keras datasets; every
training and evaluation uses it.

Public: the names in `__init__.pyi`, `tlkit.datasets`, `tlkit.sources` and `tlkit.splits`. The
package imports only `_internal`; `caching` and all packages above it import this package.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
