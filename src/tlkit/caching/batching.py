"""Features and labels as a dataset for Keras' fit, in the order that Keras uses for arrays."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit.caching.rows import LazyRows, Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureDataset:
    """The features of images, with their labels.

    Attributes:
        views: The features of each augmented copy of the images, with a row for each image; each
            epoch uses the next copy.
        labels: A label for each image, as integers or one-hot.
        weights: A weight for each image; None if the data has no weights.
        batch_size: The number of images per step.
        shuffle: Whether every epoch has another order, like Keras' order of arrays.
        is_bare: Whether a batch of a single array of features is the array itself instead of a
            tuple, for a model with one input.
    """

    views: tuple[Rows | LazyRows, ...]
    labels: np.ndarray
    weights: np.ndarray | None
    batch_size: int
    shuffle: bool
    is_bare: bool = False

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.count // self.batch_size)

    def take(self, indices: np.ndarray, view: int = 0) -> tuple[Any, ...]:
        """Return `(features, labels)`, or `(features, labels, weights)`, of these images."""
        taken = tuple(self.views[view].take(indices))
        features = taken[0] if self.is_bare else taken
        extra = () if self.weights is None else (self.weights[indices],)
        return (features, self.labels[indices], *extra)

    def in_order(self) -> "FeatureDataset":
        """Return the same dataset without shuffling."""
        return replace(self, shuffle=False)


def make_dataset(features: FeatureDataset, turn: "NextView") -> Any:
    """Return a dataset for Keras' fit.

    The dataset shuffles as Keras shuffles arrays on the same backend: with the same seed, its
    batches equal those of plain Keras. On TensorFlow it is a `tf.data.Dataset`.

    Args:
        features: The features.
        turn: The callback that chooses the view.
    """
    if keras.backend.backend() == "tensorflow":
        return _make_tf_dataset(features, turn)
    return FeatureBatches(features, turn)


def skip_batches(dataset: Any, count: int) -> tuple[Any, Any]:
    """Return a `tf.data.Dataset` without its first batches, and the variable with their number.

    The dataset reports the whole number of batches, since the variable may change for later epochs.
    """
    import tensorflow as tf

    skipped = tf.Variable(count, dtype="int64", trainable=False)
    left = tf.data.Dataset.range(1).flat_map(lambda _: dataset.skip(skipped))
    left.cardinality = dataset.cardinality  # otherwise Keras would shorten later epochs too
    return left, skipped


class NextView(keras.callbacks.Callback):
    """Chooses which view of the images an epoch uses: each epoch the next one.

    Args:
        views: The number of views.
    """

    def __init__(self, views: int) -> None:
        super().__init__()
        self.views, self.view = views, 0

    @override
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Choose the epoch's view."""
        self.view = epoch % self.views


class FeatureBatches(keras.utils.PyDataset):
    """Batches by index, for backends other than TensorFlow.

    Args:
        features: The features.
        turn: The callback that chooses the view.
    """

    def __init__(self, features: FeatureDataset, turn: NextView) -> None:
        super().__init__()
        self.features, self.turn = features, turn
        self._order = np.arange(features.count)

    def __len__(self) -> int:
        return self.features.steps

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        # Keras draws the order of arrays when it reads an epoch's first batch, and this code does
        # the same: earlier or later, other random numbers would be drawn in between.
        if index == 0 and self.features.shuffle:
            self._order = _permute(self.features.count)
        size = self.features.batch_size
        return self.features.take(self._order[index * size : (index + 1) * size], self.turn.view)


def _permute(count: int) -> np.ndarray:
    """Return a random order, drawn from the generator that Keras uses for arrays."""
    if keras.backend.backend() == "torch":
        sampler = importlib.import_module("torch.utils.data").RandomSampler(range(count))
        return np.fromiter(sampler, "int64", count)
    return np.random.permutation(count)  # keras.utils.set_random_seed seeds it


def _make_tf_dataset(features: FeatureDataset, turn: NextView) -> Any:
    import tensorflow as tf

    count, size = features.count, features.batch_size
    whole = count // size

    def order(_: Any) -> Any:  # as in Keras' own adapter for arrays
        indices = tf.range(count, dtype=tf.int64)
        return tf.random.shuffle(indices) if features.shuffle else indices

    def cut(indices: Any) -> Any:
        full = tf.reshape(indices[: whole * size], [whole, size])
        batches = tf.data.Dataset.from_tensor_slices(full)
        if count % size:
            rest = tf.data.Dataset.from_tensors(indices[whole * size :])
            batches = batches.concatenate(rest)
        return batches

    indices = tf.data.Dataset.range(1).map(order).prefetch(1).flat_map(cut)
    batches = indices.map(_make_reader(features, turn, tf), num_parallel_calls=1)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    return batches.apply(tf.data.experimental.assert_cardinality(features.steps))


def _make_reader(features: FeatureDataset, turn: NextView, tf: Any) -> Callable[[Any], Any]:
    """Return a function from indices to a batch, whose rows NumPy reads from memory or disk."""
    first = features.take(np.arange(min(1, features.count)))
    flat = keras.tree.flatten(first)

    def read(indices: np.ndarray) -> list[np.ndarray]:
        return list(keras.tree.flatten(features.take(indices, turn.view)))

    def take(indices: Any) -> Any:
        values = tf.numpy_function(read, [indices], [value.dtype for value in flat])
        for value, like in zip(values, flat, strict=True):
            value.set_shape((None, *like.shape[1:]))
        return keras.tree.pack_sequence_as(first, values)

    return take
