"""Augment images at random by Keras layers, during training only."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import override


def augment(images: Any, layers: Sequence[keras.layers.Layer]) -> np.ndarray:
    """Return images augmented by the layers as in training, in float32.

    Args:
        images: A batch with a channel axis.
        layers: Keras preprocessing layers such as RandomFlip.
    """
    result = keras.ops.convert_to_tensor(images, dtype="float32")
    for layer in layers:
        result = layer(result, training=True)
    return np.asarray(keras.ops.convert_to_numpy(result))


def augment_dataset(dataset: Any, layers: Sequence[keras.layers.Layer], *, rank: int) -> Any:
    """Return a dataset of batches whose images are augmented anew in each epoch.

    Args:
        dataset: A `tf.data.Dataset` or another dataset of batches.
        layers: The layers.
        rank: How many axes the model's input has; a missing channel axis is added.
    """
    if not hasattr(dataset, "map"):
        return _AugmentedBatches(dataset, layers, rank)

    def augment_batch(batch: Any, *rest: Any) -> tuple[Any, ...]:
        import tensorflow as tf

        images = tf.cast(keras.tree.flatten(batch)[0], tf.float32)
        if len(images.shape) == rank - 1:
            images = images[..., None]
        for layer in layers:
            images = layer(images, training=True)
        return (images, *rest)

    return dataset.map(augment_batch, num_parallel_calls=1).prefetch(2)


class _AugmentedBatches(keras.utils.PyDataset):
    """The batches of another dataset, augmented."""

    def __init__(self, dataset: Any, layers: Sequence[keras.layers.Layer], rank: int) -> None:
        super().__init__()
        self.dataset, self.layers, self.rank = dataset, layers, rank

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        batch, *rest = self.dataset[index]
        images = np.asarray(keras.tree.flatten(batch)[0])
        images = images[..., None] if images.ndim == self.rank - 1 else images
        return (augment(images, self.layers), *rest)

    @override
    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()
