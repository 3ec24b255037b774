"""Augmentation: images changed at random by Keras layers, in training and nowhere else."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import override


def changed(images: Any, layers: Sequence[keras.layers.Layer]) -> np.ndarray:
    """Return raw images as the layers make them in training, in float32.

    Args:
        images: A batch with a channel axis.
        layers: Keras preprocessing layers such as RandomFlip.
    """
    result = keras.ops.convert_to_tensor(images, dtype="float32")
    for layer in layers:
        result = layer(result, training=True)
    return np.asarray(keras.ops.convert_to_numpy(result))


def dataset(source: Any, layers: Sequence[keras.layers.Layer], *, rank: int) -> Any:
    """Return a dataset of batches whose images are changed anew each time they are asked for.

    Args:
        source: A `tf.data.Dataset` or another dataset of batches.
        layers: The layers.
        rank: How many axes the model's input has; a missing channel axis is added.
    """
    if not hasattr(source, "map"):
        return _Changed(source, layers, rank)

    def change(batch: Any, *rest: Any) -> tuple[Any, ...]:
        import tensorflow as tf

        images = tf.cast(keras.tree.flatten(batch)[0], tf.float32)
        if len(images.shape) == rank - 1:
            images = images[..., None]
        for layer in layers:
            images = layer(images, training=True)
        return (images, *rest)

    return source.map(change, num_parallel_calls=1).prefetch(2)


class _Changed(keras.utils.PyDataset):
    """Another dataset's batches, changed."""

    def __init__(self, source: Any, layers: Sequence[keras.layers.Layer], rank: int) -> None:
        super().__init__()
        self.source, self.layers, self.rank = source, layers, rank

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        batch, *rest = self.source[index]
        images = np.asarray(keras.tree.flatten(batch)[0])
        images = images[..., None] if images.ndim == self.rank - 1 else images
        return (changed(images, self.layers), *rest)

    @override
    def on_epoch_end(self) -> None:
        self.source.on_epoch_end()
