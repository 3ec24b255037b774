"""Convert images and labels from any form to one form, and check them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from typing_extensions import TypeIs

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data.checked_batches import (
    CheckedBatches,
    count_batches,
    is_endless,
    iterate,
    unpack,
)
from tlkit.data.checks import Requirements, as_array, is_one_hot
from tlkit.data.class_names import find_class_names, order_class_names
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import Argument, ConfigError, DataError

_MAX_BYTES = 2**30  # of a dataset's images that are read into memory

Arrays = tuple[Any, Any]
"""Images and labels: arrays, or images that are read when they are indexed."""
Data = ImageDataset | Arrays | Iterable[Any]
"""Images and labels in any form: an `ImageDataset`, a pair `(images, labels)` of arrays, or a
dataset that yields such batches (`tf.data.Dataset`, Keras `PyDataset`, a loader)."""
Inputs = Arrays | Iterable[Any]
"""The form that other modules use: a pair of arrays, or a dataset of batches."""


def is_arrays(data: object) -> TypeIs[Arrays]:
    """Return whether the data is a pair of arrays and not a dataset of batches."""
    return isinstance(data, tuple) and len(data) == 2


def batches(data: Inputs, batch_size: int) -> Iterator[Arrays]:
    """Yield `(images, labels)` batch by batch, in order; a dataset keeps its own batch size."""
    for images, labels, _ in weighted_batches(data, batch_size):
        yield images, labels


def weighted_batches(
    data: Inputs, batch_size: int, name: str = "data"
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield `(images, labels, weights)`; the weights are None for data without weights."""
    if is_arrays(data):
        images, labels = data
        for start in range(0, len(images), batch_size):
            yield images[start : start + batch_size], labels[start : start + batch_size], None
    elif isinstance(data, CheckedBatches):
        yield from data
    else:
        yield from (unpack(batch, name) for batch in iterate(data))


def validate(
    data: Data,
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    value_range: tuple[float, float] | None,
    class_names: Sequence[str] = (),
    lenient: bool = False,
    multi_label: bool = False,
) -> Inputs:
    """Return images and labels in one form, after checking that they fit a model.

    Arrays are checked here. A dataset of batches, and images that are read when they are indexed,
    are checked batch by batch when they are read.

    Args:
        data: Images and labels in any form.
        name: The caller's name of this argument, for error messages.
        input_shape: The model's input shape, with the batch axis.
        num_classes: The number of classes of the model.
        value_range: The model's values of black and white; None skips the check of pixels.
        class_names: The model's class names. A dataset with class names of its own (from Keras'
            directories, torchvision's folders or Hugging Face) gets its labels in this order; an
            empty sequence leaves labels unchanged.
        lenient: As for `Requirements`.
        multi_label: As for `Requirements`; labels are then returned in float32.

    Raises:
        DataError: Images or labels don't fit the model.
    """
    required = Requirements(
        name=name,
        input_shape=input_shape,
        num_classes=num_classes,
        value_range=value_range,
        lenient=lenient,
        multi_label=multi_label,
    )
    if isinstance(data, ImageDataset):
        _check_value_range(data, name, value_range)
        data = data.images, data.labels
    if isinstance(data, CheckedBatches):
        data = data.dataset
    if isinstance(data, list) and len(data) == 2:
        data = data[0], data[1]
    if is_arrays(data):
        return _validate_arrays(data, required)
    _check_repeats(data, name)
    given = find_class_names(data)
    order = order_class_names(given, class_names, name) if given and class_names else None
    if order is not None and multi_label and len(order) < num_classes:
        raise DataError(
            f"`{name}` must have a column of labels for each of the {num_classes} classes of a "
            f"multi-label classifier, got only {list(given)}."
        )
    if order is not None:
        required = replace(required, num_classes=len(order))
    return CheckedBatches(data, required, order, num_classes)


def _validate_arrays(data: Arrays, required: Requirements) -> Arrays:
    """Check arrays and return them; images that are read later are checked then."""
    images, labels = (as_array(part, required.name) for part in data)
    required.check(images, labels)
    if isinstance(images, LazyImages) and required.may_fail(images.dtype):
        images = images.checked_by(lambda some: required.check_pixels(some, judge=False))
    return images, labels.astype("float32") if required.multi_label else labels


def _check_repeats(data: object, name: str) -> None:
    """Check that data is a finite dataset of batches that can be iterated over repeatedly."""
    if not _is_dataset(data):
        raise DataError(
            f"`{name}` must be an ImageDataset, a pair (images, labels), or a dataset of such "
            f"batches that can be iterated over again, got {type(data).__name__}."
        )
    if is_endless(data):
        raise DataError(
            f"`{name}` must be finite, got a {type(data).__name__} that repeats forever. "
            "Leave out repeat(), or use take(...): `epochs` repeats it."
        )


@check_arguments
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
    array = as_array(labels, "labels")
    if is_one_hot(array):
        raise DataError(
            f"`labels` must be class indices, got shape {array.shape}: one-hot already."
        )
    required = Requirements(
        name="labels", input_shape=(), num_classes=num_classes, value_range=None
    )
    required.check_labels(array, len(np.atleast_1d(array)))
    indices = label_indices(array).astype("int64")
    try:
        rows = np.zeros((*indices.shape, num_classes), "float32")
    except (MemoryError, ValueError):
        raise ConfigError(
            Argument("num_classes"), f" must be few enough for memory, got {num_classes:,}."
        ) from None
    np.put_along_axis(rows, indices[..., None], 1, axis=-1)
    return rows


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
    _check_repeats(data, name)
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
    if is_one_hot(array):
        return np.asarray(array.argmax(axis=1))
    return np.asarray(array.reshape(len(array)))


def is_lazy(data: object) -> TypeIs[tuple[LazyImages, Any]]:
    """Return whether the images are read when they are indexed."""
    return is_arrays(data) and isinstance(data[0], LazyImages)


def describe(data: Inputs, *, value_range: tuple[float, float] | None, num_classes: int) -> str:
    """Return one line on the form of the data: its size, its pixels and its classes."""
    if is_arrays(data):
        images, count = data[0], f"{len(data[0]):,} images"
    else:
        images = (
            data.first_images if isinstance(data, CheckedBatches) else next(batches(data, 1))[0]
        )
        length = count_batches(data)
        number = "" if length is None else f"{length:,} "
        count = f"{number}batches of {len(images):,} images"
    height, width, *channels = images.shape[1:]
    colour = {1: "grey", 3: "RGB", 4: "RGBA"}.get((*channels, 1)[0], f"of {channels} channels")
    depth = {"uint8": "8-bit", "uint16": "16-bit"}.get(str(images.dtype), str(images.dtype))
    span = "" if value_range is None else f", {value_range[0]:g} to {value_range[1]:g}"
    return f"{count} of {height} x {width}, {depth} {colour}{span}; {num_classes} classes"


def _is_dataset(data: object) -> bool:
    """Return whether the data yields batches and can be iterated over repeatedly."""
    iterable = isinstance(data, Iterable | keras.utils.PyDataset)
    return iterable and not isinstance(data, np.ndarray | str | bytes | tuple | list | Iterator)


def _check_value_range(
    data: ImageDataset, name: str, value_range: tuple[float, float] | None
) -> None:
    if value_range not in (None, data.value_range):
        raise DataError(
            f"`{name}` must have pixels in the model's range {value_range}, got an ImageDataset "
            f"with value_range={data.value_range}. Build the model with "
            "build_classifier(..., value_range=...) of the data."
        )
