"""Two sets of handwritten digits: MNIST, and the small one inside scikit-learn."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.downloads import bounded_downloads
from tlkit.errors import DataError

_MNIST_KEYS = ("x_train", "y_train", "x_test", "y_test")
_MNIST_FILE = (
    "Give the path of a file you have (mnist('path/to/mnist.npz'); in the example --data "
    "path/to/mnist.npz), or put it where Keras looks: "
    "datasets/mnist.npz in the folder that KERAS_HOME names (~/.keras by default)."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Training and test images with integer labels, and what the pixels and classes mean.

    Attributes:
        name: What to call the set in a report.
        train: `(images, labels)`: images `(count, height, width)` or with a channel axis, labels
            `(count,)`.
        test: The same, for the test.
        class_names: The name of each label.
        value_range: What black and white are in the images.
    """

    name: str
    train: tuple[Any, Any]
    test: tuple[Any, Any]
    class_names: tuple[str, ...]
    value_range: tuple[float, float] = (0, 255)

    def limited(self, count: int) -> "ImageSet":
        """Return the set with only the first `count` training images."""
        wanted = arguments.at_least("limit", count, 1)
        images, labels = self.train
        return replace(self, train=(images[:wanted], labels[:wanted]))


def mnist(path: str | Path | None = None) -> ImageSet:
    """Load MNIST: 60,000 training and 10,000 test images, 28x28 grey, digits 0 to 9.

    Args:
        path: An `.npz` file with `x_train`, `y_train`, `x_test` and `y_test`. By default Keras
            loads the set, from `KERAS_HOME` or by download.

    Raises:
        DownloadError: The set is not on disk and can't be downloaded.
        DataError: `path` is no such file, or holds something else.
    """
    if path is not None:
        arrays = _npz(Path(path))
        name = Path(path).stem
    else:
        load = keras.datasets.mnist.load_data
        with bounded_downloads(load, "the MNIST data set", remedy=_MNIST_FILE):
            (x_train, y_train), (x_test, y_test) = load()
        arrays, name = (x_train, y_train, x_test, y_test), "mnist"
    x_train, y_train, x_test, y_test = arrays
    return ImageSet(
        name=name,
        train=(x_train, y_train),
        test=(x_test, y_test),
        class_names=tuple(str(digit) for digit in range(int(y_train.max()) + 1)),
    )


def digits() -> ImageSet:
    """Load scikit-learn's handwritten digits: 1,797 real images, 8x8 grey, values 0 to 16.

    They come inside scikit-learn, so no network is needed. 1,000 are for training and the other
    797 for the test, split once and for all, each class in proportion.

    Examples:
        >>> digits().test[0].shape
        (797, 8, 8)
    """
    from sklearn.datasets import load_digits  # costs most of a second: only who asks pays
    from sklearn.model_selection import train_test_split

    bundled = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        bundled.images, bundled.target, train_size=1000, stratify=bundled.target, random_state=0
    )
    return ImageSet(
        name="scikit-learn digits",
        train=(x_train, y_train),
        test=(x_test, y_test),
        class_names=tuple(str(digit) for digit in range(10)),
        value_range=(0, 16),
    )


def _npz(path: Path) -> tuple[np.ndarray, ...]:
    if not path.is_file():
        raise DataError(f"`path` must be an .npz file, got {str(path)!r}: no such file.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return tuple(file[key] for key in _MNIST_KEYS)
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{str(path)!r} must be an .npz file with the arrays {list(_MNIST_KEYS)}: {error}."
        ) from error
