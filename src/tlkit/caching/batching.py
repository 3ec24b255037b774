"""Features and labels as a dataset for Keras' fit, in the order that Keras gives to arrays."""

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
        views: A row for each image, in each augmented copy of the images; each epoch takes the
            next copy.
        labels: A label for each image, as integers or one-hot.
        weights: A weight for each image, if the data has weights.
        batch_size: Images per step.
        shuffle: Whether every epoch has another order, as Keras gives to arrays.
        is_bare: Whether a batch has one array of features itself, and not in a tuple, as a model
            with one input takes it.
    """

    views: tuple[Rows | LazyRows, ...]
    labels: np.ndarray
    weights: np.ndarray | None
    batch_size: int
    shuffle: bool
    is_bare: bool = False

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return -(-self.count // self.batch_size)

    def take(self, indices: np.ndarray, view: int = 0) -> tuple[Any, ...]:
        """Return `(features, labels)`, or with the weights, of these images."""
        taken = tuple(self.views[view].take(indices))
        features = taken[0] if self.is_bare else taken
        extra = () if self.weights is None else (self.weights[indices],)
        return (features, self.labels[indices], *extra)

    def in_order(self) -> "FeatureDataset":
        """Return the same dataset without shuffling."""
        return replace(self, shuffle=False)


def make_dataset(features: FeatureDataset, turn: "NextView") -> Any:
    """Return a dataset for Keras' fit.

    It shuffles as Keras shuffles arrays on the same backend: with the same seed, the batches are
    those that plain Keras would train on. On TensorFlow it is a `tf.data.Dataset`.

    Args:
        features: The features.
        turn: The callback that chooses the view.
    """
    if keras.backend.backend() == "tensorflow":
        return _make_tf_dataset(features, turn)
    return FeatureBatches(features, turn)


def skip_batches(dataset: Any, count: int) -> tuple[Any, Any]:
    """Return a `tf.data.Dataset` without its first batches, and the variable that says how many.

    It tells Keras the whole number of batches, which later epochs have: the variable may change.
    """
    import tensorflow as tf

    skipped = tf.Variable(count, dtype="int64", trainable=False)
    left = tf.data.Dataset.range(1).flat_map(lambda _: dataset.skip(skipped))
    left.cardinality = dataset.cardinality  # Keras would take later epochs to be as short
    return left, skipped


class NextView(keras.callbacks.Callback):
    """Chooses which view of the images an epoch takes: each epoch the next one.

    Args:
        views: How many views there are.
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
        # Keras draws the order of arrays when it takes an epoch's first batch, and so does this:
        # earlier or later, other random numbers would be drawn in between.
        if index == 0 and self.features.shuffle:
            self._order = _permute(self.features.count)
        size = self.features.batch_size
        return self.features.take(self._order[index * size : (index + 1) * size], self.turn.view)


def _permute(count: int) -> np.ndarray:
    """Return a random order, drawn from the generator from which Keras draws that of arrays."""
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
