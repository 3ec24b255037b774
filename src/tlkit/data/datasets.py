"""Load well-known datasets with a split: MNIST, Fashion-MNIST, CIFAR-10, and small digits."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.downloads import bounded_downloads
from tlkit._internal.keras_private import keras_home
from tlkit._internal.signatures import check_arguments
from tlkit.data.batches import Arrays
from tlkit.data.dataset_names import NAMES
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import DataError

__all__ = ["cifar10", "digits", "fashion_mnist", "get", "mnist", "names"]

_MNIST_KEYS = ("x_train", "y_train", "x_test", "y_test")
_CLOTHES = (
    *("T-shirt or top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_FASHION_FILES = (
    "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz"
)
_CIFAR_FILE = "cifar-10-python.tar.gz (renamed to cifar-10-batches-py-target_archive)"
_OBJECTS = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)


@check_arguments
def mnist(path: str | Path | None = None) -> Split:
    """Load MNIST: 60,000 training and 10,000 test images, 28x28 grey, digits 0 to 9.

    There are no validation images.

    Args:
        path: An `.npz` file with `x_train`, `y_train`, `x_test` and `y_test`. By default Keras
            loads the set, from `KERAS_HOME` or by download.

    Raises:
        DownloadError: The set is not on disk and can't be downloaded.
        DataError: `path` does not exist, or is not such a file.
    """
    arrays = _load("mnist", "MNIST", path, files="mnist.npz")
    digits = tuple(str(digit) for digit in range(int(arrays[1].max()) + 1))
    return _name_classes(arrays, digits, name=_name("mnist", path))


@check_arguments
def fashion_mnist(path: str | Path | None = None) -> Split:
    """Load Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28x28 grey.

    There are no validation images.

    Args:
        path: As for `mnist`.

    Raises:
        DownloadError: The set is not on disk and can't be downloaded.
        DataError: As for `mnist`.
    """
    folder = "datasets/fashion-mnist"
    arrays = _load("fashion_mnist", "Fashion-MNIST", path, files=_FASHION_FILES, folder=folder)
    return _name_classes(arrays, _CLOTHES, name=_name("fashion_mnist", path))


@check_arguments
def cifar10(path: str | Path | None = None) -> Split:
    """Load CIFAR-10: 50,000 training and 10,000 test photos, 32x32 in colour, 10 classes.

    There are no validation images. The download is 170 MB.

    Args:
        path: As for `mnist`.

    Raises:
        DownloadError: The set is not on disk and can't be downloaded.
        DataError: As for `mnist`.
    """
    arrays = _load("cifar10", "CIFAR-10", path, files=_CIFAR_FILE)
    return _name_classes(arrays, _OBJECTS, name=_name("cifar10", path))


def names() -> tuple[str, ...]:
    """Return the names of the sets that `tlkit train` takes in place of a folder.

    Examples:
        >>> names()
        ('cifar10', 'digits', 'fashion_mnist', 'mnist')
    """
    return NAMES


@check_arguments
def get(name: str) -> Split:
    """Load the set of this name, one of `names()`.

    Raises:
        ConfigError: There is no such set.
        DownloadError: The set is not on disk and can't be downloaded.
    """
    return _NAMED[arguments.one_of("name", name, _NAMED)]()


def digits() -> Split:
    """Load scikit-learn's handwritten digits: 1,797 real images, 8x8 grey, values 0 to 16.

    The images are part of scikit-learn, so no network is needed. 1,000 images are for training and
    797 for testing: always the same ones, in equal class proportions. There are no validation
    images.

    Examples:
        >>> digits().test.images.shape
        (797, 8, 8)
    """
    from sklearn.datasets import load_digits  # slow to import, and only this function needs it
    from sklearn.model_selection import train_test_split

    bundled = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        bundled.images, bundled.target, train_size=1000, stratify=bundled.target, random_state=0
    )
    return _split(
        (x_train, y_train),
        (x_test, y_test),
        name="scikit-learn digits",
        class_names=tuple(str(digit) for digit in range(10)),
        value_range=(0, 16),
    )


def _split(train: Arrays, test: Arrays, **settings: Any) -> Split:
    parts = [ImageDataset(images=x, labels=y, **settings) for x, y in (train, test)]
    return Split(train=parts[0], validation=parts[0].take(slice(0)), test=parts[1])


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


def _load(
    name: str, title: str, path: str | Path | None, *, files: str, folder: str = "datasets"
) -> tuple[np.ndarray, ...]:
    """Return images and labels, of training and of test, of a file or of `keras.datasets`.

    Args:
        name: The set's name in `keras.datasets`.
        title: Its name in a message.
        path: The file; None for Keras' own.
        files: What Keras reads.
        folder: Where, in its folder.
    """
    if path is not None:
        return _npz(arguments.path("path", path))
    place = Path(keras_home()).expanduser() / folder
    remedy = (
        f"Give the path of a file you have ({name}('path/to/{name}.npz'); in the example and on "
        f"the command line --data path/to/{name}.npz), or put {files} where Keras looks, into "
        f"{str(place)!r} (the environment variable KERAS_HOME names another place)."
    )
    load = getattr(keras.datasets, name).load_data
    with bounded_downloads(load, f"the {title} data set", remedy=remedy):
        (x_train, y_train), (x_test, y_test) = load()
    return x_train, y_train, x_test, y_test


def _name(name: str, path: str | Path | None) -> str:
    return name if path is None else Path(path).stem


def _name_classes(
    arrays: tuple[np.ndarray, ...], class_names: tuple[str, ...], *, name: str
) -> Split:
    x_train, y_train, x_test, y_test = arrays
    labels = (y_train.reshape(-1), y_test.reshape(-1))
    parts = ((x_train, labels[0]), (x_test, labels[1]))
    return _split(*parts, name=name, class_names=class_names)


_LOADERS: tuple[Callable[[], Split], ...] = (cifar10, digits, fashion_mnist, mnist)
_NAMED = {loader.__name__: loader for loader in _LOADERS}
