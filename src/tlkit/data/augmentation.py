"""Augment images with Keras layers, during training only."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit.data.checks import MIN_SPREAD
from tlkit.errors import ConfigError

_MARGIN = 0.1  # of the range of values, which interpolation and noise may exceed by this share


def mixes_labels(layers: Sequence[keras.layers.Layer]) -> bool:
    """Return whether a layer mixes images (MixUp, CutMix), so that labels must be mixed alike."""
    return any(isinstance(layer, keras.layers.MixUp | keras.layers.CutMix) for layer in layers)


def refuse_mixing(layers: Sequence[keras.layers.Layer], place: str) -> None:
    """Check that no layer mixes labels.

    Args:
        layers: The layers.
        place: Where labels can't be mixed, for the message, such as "in a SolvedHead".

    Raises:
        ConfigError: A layer mixes labels.
    """
    if mixes_labels(layers):
        raise ConfigError(
            f"`augmentation` must be without MixUp and CutMix {place}: they mix labels too. Use "
            "them in a Phase, which trains by gradients."
        )


def augment(images: Any, layers: Sequence[keras.layers.Layer]) -> np.ndarray:
    """Return images in float32, augmented by the layers as in training.

    Args:
        images: `(batch, height, width, channels)`.
        layers: Keras preprocessing layers such as RandomFlip.
    """
    result = keras.ops.convert_to_tensor(images, dtype="float32")
    for layer in layers:
        result = layer(result, training=True)
    return np.asarray(keras.ops.convert_to_numpy(result))


def check_augmentation(
    layers: Sequence[keras.layers.Layer], images: Any, value_range: tuple[float, float]
) -> None:
    """Check on some images that the augmented images still fit the model.

    Args:
        layers: The layers; calling them advances their random states.
        images: `(batch, height, width, channels)`.
        value_range: The model's values of black and white.

    Raises:
        ConfigError: A layer needs more than images, changes their shape, or changes the range of
            their values, so that the model would be trained on other images than it predicts.
    """
    before = np.asarray(images, "float32")
    try:
        after = augment(before, layers)
    except Exception as error:  # a layer may raise any error
        raise ConfigError(
            "`augmentation` must be Keras layers that take a batch of images alone, got an error: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    if after.shape != before.shape:
        raise ConfigError(
            f"`augmentation` must keep the shape of the images, {before.shape[1:]}, got "
            f"{after.shape[1:]}."
        )
    low, high = value_range
    span, darkest, brightest = high - low, float(after.min()), float(after.max())
    inside = low - _MARGIN * span <= darkest and brightest <= high + _MARGIN * span
    if not inside or np.ptp(before) > MIN_SPREAD * span >= brightest - darkest:
        raise ConfigError(
            f"`augmentation` must keep pixels in the model's range [{low:g}, {high:g}], got "
            f"[{darkest:g}, {brightest:g}] from [{before.min():g}, {before.max():g}]. Leave out "
            "rescaling, which the model does itself, and set the `value_range` of its layers."
        )


def augment_dataset(dataset: Any, layers: Sequence[keras.layers.Layer], *, rank: int) -> Any:
    """Return a dataset of batches whose images are augmented anew in each epoch.

    Args:
        dataset: A `tf.data.Dataset` or a Keras `PyDataset` of batches.
        layers: Keras preprocessing layers.
        rank: The number of axes of the model's input, batch axis included; a missing channel axis
            is added.
    """
    if not hasattr(dataset, "map"):
        return _AugmentedBatches(dataset, layers, rank)

    def augment_batch(batch: Any, *rest: Any) -> tuple[Any, ...]:
        import tensorflow as tf

        images = tf.cast(keras.tree.flatten(batch)[0], tf.float32)
        if len(images.shape) == rank - 1:
            images = images[..., None]
        return augment_labelled(images, layers, *rest)

    return dataset.map(augment_batch, num_parallel_calls=1).prefetch(2)


def augment_labelled(
    images: Any, layers: Sequence[keras.layers.Layer], labels: Any, *rest: Any
) -> tuple[Any, ...]:
    """Return augmented images and their labels; a layer that mixes images mixes both.

    Args:
        images: `(batch, height, width, channels)` in float32.
        layers: Keras preprocessing layers.
        labels: Their labels; one-hot rows if a layer mixes images.
        rest: Values that are returned unchanged, such as weights.
    """
    for layer in layers:
        if mixes_labels([layer]):
            both = {"images": images, "labels": keras.ops.cast(labels, "float32")}
            both = layer(both, training=True)
            images, labels = both["images"], both["labels"]
        else:
            images = layer(images, training=True)
    return (images, labels, *rest)


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
        tensors = keras.ops.convert_to_tensor(images, dtype="float32")
        changed = augment_labelled(tensors, self.layers, *rest)
        return tuple(map(keras.ops.convert_to_numpy, changed))

    @override
    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()
