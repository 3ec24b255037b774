"""Load well-known datasets with a split: MNIST, Fashion-MNIST, CIFAR-10, and small digits."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.downloads import bounded_downloads
from tlkit._internal.signatures import check_arguments
from tlkit.data.batches import Arrays
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import DataError

__all__ = ["cifar10", "digits", "fashion_mnist", "get", "mnist", "names"]

_MNIST_KEYS = ("x_train", "y_train", "x_test", "y_test")
_CLOTHES = (
    *("T-shirt or top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_OBJECTS = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
_MNIST_FILE = (
    "Give the path of a file you have (mnist('path/to/mnist.npz'); in the example and on the "
    "command line --data path/to/mnist.npz), or put it where Keras looks: "
    "datasets/mnist.npz in the folder that KERAS_HOME names (~/.keras by default)."
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
    if path is not None:
        arrays = _npz(arguments.path("path", path))
        name = Path(path).stem
    else:
        arrays = _download(keras.datasets.mnist, "MNIST", remedy=_MNIST_FILE)
        name = "mnist"
    x_train, y_train, x_test, y_test = arrays
    names = tuple(str(digit) for digit in range(int(y_train.max()) + 1))
    return _split((x_train, y_train), (x_test, y_test), name=name, class_names=names)


def fashion_mnist() -> Split:
    """Load Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28x28 grey.

    There are no validation images. Keras loads the set, from `KERAS_HOME` or by download.

    Raises:
        DownloadError: The set is not on disk and can't be downloaded.
    """
    where = _describe_place("datasets/fashion-mnist, its four .gz files")
    arrays = _download(keras.datasets.fashion_mnist, "Fashion-MNIST", remedy=where)
    return _name_classes(arrays, _CLOTHES, name="fashion_mnist")


def cifar10() -> Split:
    """Load CIFAR-10: 50,000 training and 10,000 test photos, 32x32 in colour, 10 classes.

    There are no validation images. Keras loads the set, from `KERAS_HOME` or by download (170 MB).

    Raises:
        DownloadError: The set is not on disk and can't be downloaded.
    """
    where = _describe_place("datasets/cifar-10-batches-py-target_archive, its .tar.gz file")
    arrays = _download(keras.datasets.cifar10, "CIFAR-10", remedy=where)
    return _name_classes(arrays, _OBJECTS, name="cifar10")


def names() -> tuple[str, ...]:
    """Return the names of the sets that `tlkit train` takes in place of a folder.

    Examples:
        >>> names()
        ('cifar10', 'digits', 'fashion_mnist', 'mnist')
    """
    return tuple(_NAMED)


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


def _download(module: ModuleType, title: str, *, remedy: str) -> tuple[np.ndarray, ...]:
    """Return training images and labels, then test images and labels, from `keras.datasets`."""
    load = module.load_data
    with bounded_downloads(load, f"the {title} data set", remedy=remedy):
        (x_train, y_train), (x_test, y_test) = load()
    return x_train, y_train, x_test, y_test


def _describe_place(files: str) -> str:
    return (
        f"If you have the set, put it where Keras looks: {files}, in the folder that KERAS_HOME "
        "names (~/.keras by default)."
    )


def _name_classes(
    arrays: tuple[np.ndarray, ...], class_names: tuple[str, ...], *, name: str
) -> Split:
    x_train, y_train, x_test, y_test = arrays
    labels = (y_train.reshape(-1), y_test.reshape(-1))
    parts = ((x_train, labels[0]), (x_test, labels[1]))
    return _split(*parts, name=name, class_names=class_names)


_NAMED: dict[str, Callable[[], Split]] = {
    "cifar10": cifar10,
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
}
