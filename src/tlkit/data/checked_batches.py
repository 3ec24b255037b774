"""Datasets of batches, each of which is checked when it is read, by tlkit or by Keras' fit."""

import importlib
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit.data.checks import Requirements, is_one_hot
from tlkit.errors import DataError

_MAX_IMAGES = 1_000_000  # of a dataset without a length, which may be infinite
_INFINITE = -1  # cardinality in tf.data


class CheckedBatches:
    """A dataset of batches, each of which is checked when it is read.

    Args:
        dataset: A `tf.data.Dataset`, a Keras `PyDataset`, or another dataset that yields batches of
            images and labels and can be iterated over repeatedly.
        required: The checks that its batches must pass.
        order: The classifier's index of each of the dataset's classes; None if they are equal.
        num_classes: The number of classes of the classifier.
    """

    def __init__(
        self, dataset: Any, required: Requirements, order: np.ndarray | None, num_classes: int
    ) -> None:
        self.dataset, self._required = dataset, required
        self._order, self._num_classes = order, num_classes
        first = next(iter(self), None)
        if first is None:
            raise DataError(
                f"`{required.name}` must hold at least one batch, got an empty dataset."
            )
        self.first_images, labels, weights = first
        self.has_one_hot, self.has_weights = is_one_hot(labels), weights is not None

    def __len__(self) -> int:
        length = count_batches(self.dataset)
        if length is None:
            raise TypeError(f"{type(self.dataset).__name__} has no known length.")
        return length

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        count, limit = 0, _MAX_IMAGES if count_batches(self.dataset) is None else None
        for index, batch in enumerate(iterate(self.dataset)):
            images, labels, weights = self.check(index, batch)
            count += len(images)
            if limit is not None and count > limit:
                raise DataError(
                    f"`{self._required.name}` must have a known length if it has more than "
                    f"{limit:,} images, since it may be infinite. Leave out repeat(), and give a "
                    "tf.data.Dataset its length by assert_cardinality, or a loader `__len__`."
                )
            yield images, labels, weights

    def check(self, index: int, batch: Any) -> tuple[Any, Any, Any]:
        """Check a batch; return it as arrays, with labels in the classifier's order.

        Args:
            index: The batch's position in the dataset, from 0.
            batch: A batch as the dataset yields it.

        Raises:
            DataError: The batch does not fit; the message states which batch it is.
        """
        images, labels, weights = unpack(batch, self._required.name)
        try:
            self._required.check(images, labels, weights, judge=index == 0)
            if index and is_one_hot(labels) != self.has_one_hot:
                raise DataError(
                    f"`{self._required.name}` labels must have one form, class indices or one-hot "
                    f"rows, got shape {labels.shape} after others."
                )
        except DataError as error:
            raise DataError(f"{error} This is in batch {index + 1}.") from None
        if self._required.multi_label:
            labels = labels.astype("float32")
        if self._order is not None:
            labels = _reorder_labels(labels, self._order, self._num_classes)
        return images, labels, weights

    def on_epoch_end(self) -> None:
        """Let a `PyDataset` change its order, as Keras does between epochs."""
        if isinstance(self.dataset, keras.utils.PyDataset):
            self.dataset.on_epoch_end()

    def for_keras(self) -> Any:
        """Return a dataset for Keras' fit, which raises a DataError for a batch that does not fit.

        Keras and TensorFlow wrap that error in their own errors: see `raise_data_error`.
        """
        if hasattr(self.dataset, "element_spec"):
            return self._map_tensors()
        return _KerasBatches(self)

    def _map_tensors(self) -> Any:
        """Return a `tf.data.Dataset` that passes each batch through the check, in Python."""
        tensorflow = importlib.import_module("tensorflow")

        def check(index: Any, batch: tuple[Any, ...]) -> tuple[Any, ...]:
            images, labels, *weights = batch
            dtype = tensorflow.float32 if self._required.multi_label else labels.dtype

            def run(number: Any, *arrays: Any) -> Any:
                return np.asarray(self.check(int(number), arrays)[1], dtype.as_numpy_dtype)

            checked = tensorflow.numpy_function(
                run, [index, images, labels, *weights], dtype, stateful=False
            )
            checked.set_shape([None, self._num_classes] if self.has_one_hot else labels.shape)
            if images.shape.rank in (None, len(shape)):
                images.set_shape(shape)
            return (images, checked, *weights)

        shape = (None, *self._required.input_shape[1:])
        numbered = self.dataset.enumerate()
        return numbered.map(check, num_parallel_calls=1).prefetch(2)


class _KerasBatches(keras.utils.PyDataset):
    """Checked batches for Keras' fit: those of a PyDataset, or of an iterable in order."""

    def __init__(self, checked: CheckedBatches) -> None:
        own = checked.dataset
        names = ("workers", "use_multiprocessing", "max_queue_size")
        indexed = isinstance(own, keras.utils.PyDataset)
        super().__init__(**{name: getattr(own, name) for name in names} if indexed else {})
        self._checked, self._indexed = checked, indexed
        length = count_batches(own)
        self._length = sum(1 for _ in checked) if length is None else length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if self._indexed:
            batch = self._checked.check(index, self._checked.dataset[index])
        else:
            if index == 0:
                self._batches = iter(self._checked)
            batch = next(self._batches)
        return batch if self._checked.has_weights else batch[:2]

    @override
    def on_epoch_end(self) -> None:
        self._checked.on_epoch_end()


def raise_data_error(error: Exception) -> None:
    """Raise the DataError that Keras or TensorFlow wrapped in this error, if there is one."""
    found = re.search(r"DataError: (.+)", str(error))
    if found is not None:
        raise DataError(found[1]) from None


def is_endless(data: object) -> bool:
    """Return whether a dataset of batches reports that it is infinite."""
    if isinstance(data, keras.utils.PyDataset):
        return count_batches(data) is None
    cardinality = getattr(data, "cardinality", None)  # of tf.data
    return callable(cardinality) and int(cardinality()) == _INFINITE


def count_batches(data: Any) -> int | None:
    """Return how many batches a dataset has; None if it does not report that."""
    try:
        length: int = data.num_batches if isinstance(data, keras.utils.PyDataset) else len(data)
        return length
    except (TypeError, NotImplementedError):
        return None


def iterate(data: Any) -> Iterator[Any]:
    """Return the batches of one epoch."""
    if isinstance(data, keras.utils.PyDataset):
        return (data[index] for index in range(data.num_batches))
    return iter(data)


def unpack(batch: Any, name: str = "data") -> tuple[Any, Any, Any]:
    """Return the images, labels and weights (or None) of a batch, as NumPy arrays.

    Args:
        batch: A batch as a dataset yields it.
        name: The caller's name of the dataset, for error messages.

    Raises:
        DataError: The batch is not a tuple or list of images and labels.
    """
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise DataError(
            f"`{name}` must yield (images, labels) batches, got a batch of type "
            f"{type(batch).__name__}."
        )
    images, labels, weights = (*batch, None)[:3]
    return _to_numpy(images), _to_numpy(labels), None if weights is None else _to_numpy(weights)


def _to_numpy(values: Any) -> Any:
    """Return a nested structure with its tensors converted to NumPy arrays."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, values)


def _reorder_labels(labels: np.ndarray, order: np.ndarray, num_classes: int) -> np.ndarray:
    if not is_one_hot(labels):
        return np.asarray(order[labels], labels.dtype)
    columns = np.zeros((len(labels), num_classes), labels.dtype)
    columns[:, order] = labels
    return columns
