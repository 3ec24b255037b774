"""Kept features and their labels as what Keras' fit takes, in the order it would have them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit.caching.rows import LazyRows, Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """Features of a set of images, and what the images are.

    Attributes:
        views: A row for each image, for each view of the images; epoch after epoch takes the next.
        labels: A label for each image, in the form they were given.
        weights: A weight for each image, where the data has them.
        batch_size: Images a step.
        shuffle: Whether every epoch has an order of its own, as arrays do.
    """

    views: tuple[Rows | LazyRows, ...]
    labels: np.ndarray
    weights: np.ndarray | None
    batch_size: int
    shuffle: bool

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
        features = tuple(self.views[view].take(indices))
        extra = () if self.weights is None else (self.weights[indices],)
        return (features, self.labels[indices], *extra)

    def in_order(self) -> "Feed":
        """Return the same without shuffling."""
        return replace(self, shuffle=False)


def dataset(feed: Feed, turn: "NextView") -> Any:
    """Return what fit takes, with the view that `turn` knows.

    On TensorFlow it is a `tf.data.Dataset` that shuffles as Keras shuffles arrays: under one seed
    the batches are those that plain Keras would train on.
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow(feed, turn)
    return Batches(feed, turn)


class NextView(keras.callbacks.Callback):
    """Knows which view of the images the running epoch takes: each epoch the next.

    Args:
        views: How many there are.
    """

    def __init__(self, views: int) -> None:
        super().__init__()
        self.views, self.view = views, 0

    @override
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Take the epoch's view."""
        self.view = epoch % self.views


class Batches(keras.utils.PyDataset):
    """Batches by their place, for whatever does without tf.data.

    Args:
        feed: The features.
        turn: Which view to take.
    """

    def __init__(self, feed: Feed, turn: NextView) -> None:
        super().__init__()
        self.feed, self.turn = feed, turn
        self._order = self._permuted()

    def __len__(self) -> int:
        return self.feed.steps

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        size = self.feed.batch_size
        return self.feed.take(self._order[index * size : (index + 1) * size], self.turn.view)

    @override
    def on_epoch_end(self) -> None:
        self._order = self._permuted()

    def _permuted(self) -> np.ndarray:
        count = self.feed.count
        # NumPy's global generator is what Keras seeds, and shuffles arrays with
        return np.random.permutation(count) if self.feed.shuffle else np.arange(count)


def _tensorflow(feed: Feed, turn: NextView) -> Any:
    import tensorflow as tf

    count, size = feed.count, feed.batch_size
    whole = count // size

    def order(_: Any) -> Any:  # as Keras' own adapter for arrays makes it
        indices = tf.range(count, dtype=tf.int64)
        return tf.random.shuffle(indices) if feed.shuffle else indices

    def cut(indices: Any) -> Any:
        full = tf.reshape(indices[: whole * size], [whole, size])
        batches = tf.data.Dataset.from_tensor_slices(full)
        if count % size:
            rest = tf.data.Dataset.from_tensors(indices[whole * size :])
            batches = batches.concatenate(rest)
        return batches

    indices = tf.data.Dataset.range(1).map(order).prefetch(1).flat_map(cut)
    batches = indices.map(_taker(feed, turn, tf), num_parallel_calls=1)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    return batches.apply(tf.data.experimental.assert_cardinality(feed.steps))


def _taker(feed: Feed, turn: NextView, tf: Any) -> Callable[[Any], Any]:
    """Return the function from indices to a batch: NumPy reads the rows, in place or from disk."""
    first = feed.take(np.arange(min(1, feed.count)))
    flat = keras.tree.flatten(first)

    def read(indices: np.ndarray) -> list[np.ndarray]:
        return list(keras.tree.flatten(feed.take(indices, turn.view)))

    def take(indices: Any) -> Any:
        values = tf.numpy_function(read, [indices], [value.dtype for value in flat])
        for value, like in zip(values, flat, strict=True):
            value.set_shape((None, *like.shape[1:]))
        return keras.tree.pack_sequence_as(first, values)

    return take
