"""Images and labels in any form, brought to one form and checked."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from typing_extensions import TypeIs

from tlkit._internal import arguments
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError

_CHECKED_IMAGES = 16
_MAX_BYTES = 2**30  # of a dataset's images, in memory so that they can be indexed

Arrays = tuple[Any, Any]
"""Images and labels: arrays, or images that are read when they are indexed."""
Data = ImageDataset | Arrays | Iterable[Any]
"""Images and labels in any form: an `ImageDataset`, a pair `(images, labels)` of arrays, or a
dataset that yields such batches (`tf.data.Dataset`, Keras `PyDataset`, a loader)."""
Inputs = Arrays | Iterable[Any]
"""The form that the rest of the package works on: arrays, or a dataset of batches."""


def is_arrays(data: object) -> TypeIs[Arrays]:
    """Return whether the data is a pair of arrays and not a dataset of batches."""
    return isinstance(data, tuple) and len(data) == 2


def batches(data: Inputs, batch_size: int) -> Iterator[Arrays]:
    """Yield `(images, labels)` batch by batch, in order; a dataset keeps its own batch size."""
    for images, labels, _ in weighted_batches(data, batch_size):
        yield images, labels


def weighted_batches(data: Inputs, batch_size: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield `(images, labels, weights)`; the weights are None for data without weights."""
    if is_arrays(data):
        images, labels = data
        for start in range(0, len(images), batch_size):
            yield images[start : start + batch_size], labels[start : start + batch_size], None
        return
    source = (
        (data[i] for i in range(len(data))) if isinstance(data, keras.utils.PyDataset) else data
    )
    for batch in source:
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            raise DataError(
                "A dataset must yield (images, labels) batches, got a batch of type "
                f"{type(batch).__name__}."
            )
        images, labels, weights = (*batch, None)[:3]
        yield _to_numpy(images), _to_numpy(labels), None if weights is None else _to_numpy(weights)


def validate(
    data: Data,
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    value_range: tuple[float, float] | None,
) -> Inputs:
    """Return images and labels in one form, checked against a model.

    Of a dataset the first batch is checked, and of images that are read when they are indexed the
    first few.

    Args:
        data: Images and labels in any form.
        name: The caller's name of this argument, for error messages.
        input_shape: The model's, with the batch axis.
        num_classes: The number of classes of the model.
        value_range: The model's values of black and white; None leaves pixels unchecked.

    Raises:
        DataError: Images or labels don't fit the model.
    """
    if isinstance(data, ImageDataset):
        _check_value_range(data, name, value_range)
        data = data.images, data.labels
    if isinstance(data, list) and len(data) == 2:
        data = data[0], data[1]
    if is_arrays(data):
        images, labels = (_as_array(part, name) for part in data)
        _check_images(images, name, input_shape, value_range)
        _check_labels(labels, name, len(images), num_classes)
        return images, labels
    if not _is_dataset(data):
        raise DataError(
            f"`{name}` must be an ImageDataset, a pair (images, labels), or a dataset of such "
            f"batches that can be iterated over again, got {type(data).__name__}."
        )
    first = next(iter(batches(data, 1)), None)
    if first is None:
        raise DataError(f"`{name}` must hold at least one batch, got an empty dataset.")
    images, labels = (keras.ops.convert_to_numpy(part) for part in first)
    _check_images(images, name, input_shape, value_range)
    _check_labels(labels, name, len(images), num_classes)
    return data


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return class indices as one-hot rows, `(count, num_classes)` in float32.

    Raises:
        ConfigError: There are fewer than 2 classes.
        DataError: A label is out of range, or labels are one-hot already.

    Examples:
        >>> one_hot(np.array([1, 0]), 2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    arguments.at_least("num_classes", num_classes, 2)
    array = _as_array(labels, "labels")
    if is_one_hot(array):
        raise DataError(f"Labels must be class indices, got shape {array.shape}: one-hot already.")
    _check_labels(array, "labels", len(np.atleast_1d(array)), num_classes)
    return np.asarray(np.eye(num_classes, dtype="float32")[label_indices(array)])


def to_arrays(data: Data, name: str = "data") -> Arrays:
    """Return images that can be indexed, and their labels; a dataset is read into memory.

    Args:
        data: Images and labels in any form.
        name: The caller's name of this argument, for error messages.

    Raises:
        DataError: A dataset has more than 1 GiB of images.
    """
    if isinstance(data, ImageDataset):
        return data.images, data.labels
    if is_arrays(data):
        return data
    images, labels, size = [], [], 0
    for batch, given in batches(data, 1):
        size += batch.nbytes
        if size > _MAX_BYTES:
            raise DataError(
                f"`{name}` must have at most {_MAX_BYTES / 2**30:g} GiB of images where it is a "
                "dataset of batches, got more. Pass some of them, such as dataset.take(100), or "
                "tlkit.sources.from_batches(dataset, ...), which keeps them on disk."
            )
        images.append(batch)
        labels.append(given)
    return np.concatenate(images), np.concatenate(labels)


def label_indices(labels: Any) -> np.ndarray:
    """Return class indices or one-hot labels as class indices, `(count,)`."""
    array = keras.ops.convert_to_numpy(labels)
    if array.ndim == 2 and array.shape[1] > 1:
        return np.asarray(array.argmax(axis=1))
    return np.asarray(array.reshape(len(array)))


def is_one_hot(labels: Any) -> bool:
    """Return whether labels have a column for each class."""
    return len(labels.shape) == 2 and labels.shape[1] > 1


def _to_numpy(values: Any) -> Any:
    """Return a nested structure with NumPy arrays in place of tensors."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, values)


def _is_dataset(data: object) -> bool:
    """Return whether the data yields batches, in every epoch again."""
    iterable = isinstance(data, Iterable | keras.utils.PyDataset)
    return iterable and not isinstance(data, np.ndarray | str | bytes | tuple | list | Iterator)


def is_lazy(data: object) -> TypeIs[tuple[LazyImages, Any]]:
    """Return whether the images are read when they are indexed."""
    return is_arrays(data) and isinstance(data[0], LazyImages)


def _check_value_range(
    data: ImageDataset, name: str, value_range: tuple[float, float] | None
) -> None:
    if value_range not in (None, data.value_range):
        raise DataError(
            f"`{name}` must have pixels in the model's range {value_range}, got an ImageDataset "
            f"with value_range={data.value_range}. Build the model with "
            "build_classifier(..., value_range=...) of the data."
        )


def _as_array(values: Any, name: str) -> Any:
    if isinstance(values, LazyImages):
        return values
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"`{name}` images must all have one shape, and so must labels: {error}"
        ) from error
    if array.dtype == object:
        raise DataError(
            f"`{name}` must be a pair of arrays of numbers (images, labels), got a "
            f"{type(values).__name__} of Python objects."
        )
    return array


def _check_images(
    images: np.ndarray,
    name: str,
    input_shape: tuple[int | None, ...],
    value_range: tuple[float, float] | None,
) -> None:
    if images.dtype.kind not in "biuf":
        raise DataError(f"`{name}` images must be numbers, got {images.dtype}.")
    if images.size == 0:
        raise DataError(f"`{name}` must hold at least one image, got an empty batch.")
    if not _fits(images.shape, input_shape):
        wanted = ", ".join("any" if axis is None else str(axis) for axis in input_shape[1:])
        raise DataError(
            f"`{name}` images must have shape (batch, {wanted}) for this model, got "
            f"{images.shape}. The model's shape is `input_shape` of build_classifier."
        )
    if value_range is not None:
        _check_pixels(images, name, value_range)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Return whether Keras accepts this shape; a single channel needs no axis."""
    if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
        shape = (*shape, 1)
    elif len(shape) == len(wanted) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    same = (want in (None, have) for have, want in zip(shape[1:], wanted[1:], strict=False))
    return len(shape) == len(wanted) and all(same)


def _check_pixels(images: np.ndarray, name: str, value_range: tuple[float, float]) -> None:
    images = images[:_CHECKED_IMAGES] if isinstance(images, LazyImages) else images
    darkest, brightest = float(images.min()), float(images.max())
    low, high = value_range
    if not (np.isfinite(darkest) and np.isfinite(brightest)):
        raise DataError(f"`{name}` images must be finite, got NaN or infinite pixels.")
    if darkest < low or brightest > high:
        raise DataError(
            f"`{name}` pixels must lie in [{low:g}, {high:g}], got [{darkest:g}, {brightest:g}]. "
            "Set build_classifier(..., value_range=(low, high)) to the range of your pixels."
        )
    unit = darkest >= 0 and darkest < brightest <= 1
    if unit and high > 2 and images.dtype.kind == "f":
        raise DataError(
            f"`{name}` pixels lie in [0, 1], but the model rescales pixels from "
            f"[{low:g}, {high:g}] itself: all images would be black. Pass raw images, or set "
            "build_classifier(..., value_range=(0, 1))."
        )


def _check_labels(labels: np.ndarray, name: str, count: int, num_classes: int) -> None:
    if len(labels.shape) not in (1, 2) or len(labels) != count:
        raise DataError(
            f"`{name}` must have one label for each of the {count} images, got labels of shape "
            f"{labels.shape}."
        )
    if is_one_hot(labels) and labels.dtype.kind in "biuf":
        _check_one_hot(labels, name, num_classes)
        return
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"`{name}` labels must be whole numbers or one-hot rows, got {labels.dtype}. "
            "Turn names into indices first: numpy.unique(names, return_inverse=True)."
        )
    if len(labels) == 0:
        return
    if labels.min() < 0 or labels.max() >= num_classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(
            f"`{name}` labels must be from 0 to {num_classes - 1} for {num_classes} classes, "
            f"got {wrong}."
        )


def _check_one_hot(labels: np.ndarray, name: str, num_classes: int) -> None:
    if labels.shape[1] != num_classes:
        raise DataError(
            f"`{name}` one-hot labels must have {num_classes} columns, one for each class, "
            f"got {labels.shape[1]}."
        )
    total = labels.astype("float32").sum(axis=1)
    if labels.min() < 0 or not np.allclose(total, 1, atol=1e-3):
        raise DataError(
            f"`{name}` one-hot labels must be rows of at least 0 that add up to 1, "
            f"got a row that adds up to {total[np.abs(total - 1).argmax()]:g}."
        )
