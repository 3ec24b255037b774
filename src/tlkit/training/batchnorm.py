"""Recompute the moving statistics of BatchNormalization over the training data."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal import arrays
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit._internal.variables import restore_on_exit
from tlkit.data.batches import Inputs, batches
from tlkit.errors import DataError
from tlkit.models.freezing import find_batchnorm
from tlkit.models.own_predictions import run_on_batch


class ReestimateBatchNorm(keras.callbacks.Callback):
    """Recomputes moving statistics after every epoch, before Keras validates.

    Training does not use the moving statistics, so this callback only affects validation,
    checkpoints and the trained model.

    Args:
        layers: The BatchNormalization layers.
        data: The training data.
        batch_size: The number of images per batch, for arrays; use that of training.
        model: The model whose input is the data; by default the model that is trained.
    """

    def __init__(
        self,
        layers: Sequence[keras.layers.BatchNormalization],
        data: Inputs,
        *,
        batch_size: int,
        model: keras.Model | None = None,
    ) -> None:
        super().__init__()
        self.layers, self.data, self.batch_size = layers, data, batch_size
        self._runs = (model,)  # in a tuple, since Callback has its own `model`
        self._outdated = False
        self._forward: _TrainingForward | None = None

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reset, since one callback may be used for several calls of `fit`."""
        self._forward = _TrainingForward(self._runs[0] or self.model)

    @override
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Mark the statistics as outdated."""
        self._outdated = True

    @override
    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Recompute before the epoch's validation."""
        self._refresh()

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Recompute, unless validation did."""
        self._refresh()

    def _refresh(self) -> None:
        if self._outdated and self._forward is not None:
            images = (pair[0] for pair in batches(self.data, self.batch_size))
            _reestimate(self._forward, self.layers, images)
            self._outdated = False


@check_arguments
def reestimate(
    model: keras.Model, layers: Sequence[keras.layers.BatchNormalization], images: Iterable[Any]
) -> None:
    """Set the layers' moving statistics to those of all images; nothing else changes.

    This is "precise BatchNorm" (Wu and Johnson, 2021, arXiv:2105.07576).

    Args:
        model: The model that contains the layers.
        layers: BatchNormalization layers with `trainable` set; frozen layers keep their statistics.
        images: Batches of images, in the form of the model's input.

    Raises:
        DataError: `images` is empty.
    """
    _reestimate(_TrainingForward(model), layers, map(_check_batch, images))


def _check_batch(batch: Any) -> Any:
    def check(part: Any) -> Any:
        return arrays.check_numbers("images", part, 2, 3, 4, 5)

    try:
        return keras.tree.map_structure(check, batch)
    except RecursionError:
        raise DataError(f"`images` must yield batches of images, got {show(batch)}.") from None


class _TrainingForward(keras.Model):
    """Runs a model in training mode through `predict_on_batch`, compiled on every backend."""

    def __init__(self, inner: keras.Model) -> None:
        super().__init__(name="training_forward")
        self.inner = inner

    @override
    def call(self, images: Any) -> Any:
        return self.inner(images, training=True)


# A moving average with Keras' momentum of 0.99 or 0.999 needs hundreds to thousands of steps to
# follow the weights. Idea: with momentum 0, a forward pass in training mode sets the moving
# statistics to the mean and variance of its batch. These are pooled over all batches, weighted by
# the number of images: the mean is the mean of the means, and the variance is the mean of
# (variance + mean**2) minus the square of the pooled mean. All other variables that training mode
# changes, such as random states and the statistics of other layers, are restored.
def _reestimate(
    forward: _TrainingForward,
    layers: Sequence[keras.layers.BatchNormalization],
    images: Iterable[Any],
) -> None:
    count = 0
    means = [np.zeros(layer.moving_mean.shape) for layer in layers]
    squares = [np.zeros(layer.moving_mean.shape) for layer in layers]
    with _set_zero_momentum(layers), restore_on_exit(_changed_by_training_mode(forward.inner)):
        for batch in images:
            run_on_batch(forward, batch)
            weight = len(keras.tree.flatten(batch)[0])
            count += weight
            for layer, mean, square in zip(layers, means, squares, strict=True):
                batch_mean = _array(layer.moving_mean)
                mean += weight * batch_mean
                square += weight * (_array(layer.moving_variance) + batch_mean**2)
    if count == 0:
        raise DataError("`images` must hold at least one batch, got none.")
    for layer, mean, square in zip(layers, means, squares, strict=True):
        layer.moving_mean.assign(mean / count)
        layer.moving_variance.assign(np.maximum(square / count - (mean / count) ** 2, 0))


def _changed_by_training_mode(model: keras.Model) -> list[Any]:
    """Return the variables that a pass in training mode changes: seeds and all statistics."""
    weights = {id(weight) for weight in model.weights}
    seeds = [variable for variable in model.variables if id(variable) not in weights]
    norms = find_batchnorm(model)
    return seeds + [part for norm in norms for part in (norm.moving_mean, norm.moving_variance)]


@contextmanager
def _set_zero_momentum(layers: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Let the moving statistics equal those of the last batch inside the block."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), "float64")
