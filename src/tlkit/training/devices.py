"""Share each batch among the devices of this process, by `keras.distribution` on JAX."""

from typing import Any

import keras
from typing_extensions import override

from tlkit._internal import arguments
from tlkit._internal.keras_private import lay_out_every_batch
from tlkit._internal.signatures import check_arguments
from tlkit.errors import Argument, ConfigError


class SharedBatches(keras.distribution.DataParallel):
    """Gives every device an equal part of a batch, and the whole batch where it can't be divided.

    Such is the last batch of an epoch. Every device then computes the same, and the result is that
    of one device.
    """

    @override
    def get_data_layout(self, data_shape: Any) -> Any:
        """Return how a batch of this shape lies on the devices."""
        layout = super().get_data_layout(data_shape)
        if data_shape[0] % self.device_mesh.shape[0] == 0:
            return layout
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


@check_arguments
def use_devices(count: int | None = None) -> int:
    """Let trainings share each batch among devices; build or load the classifier afterwards.

    The batch size stays that of all devices together. Losses, gradients and the statistics of
    BatchNormalization are those of the whole batch, as on one device, but for rounding.

    Args:
        count: How many devices; by default all that JAX has.

    Returns:
        How many devices are used.

    Raises:
        ConfigError: Keras runs on another backend, or there are fewer devices.
    """
    backend = keras.config.backend()
    if backend != "jax":
        raise ConfigError(
            "use_devices needs Keras' JAX backend, which alone can share batches among devices, "
            f"got {backend!r}. Set KERAS_BACKEND=jax before Python starts."
        )
    found = keras.distribution.list_devices()
    wanted = len(found) if count is None else arguments.at_least("count", count, 1)
    if wanted > len(found):
        raise ConfigError(
            Argument("count"), f" must be at most the {len(found)} devices of JAX, got {wanted}."
        )
    lay_out_every_batch()
    keras.distribution.set_distribution(SharedBatches(devices=found[:wanted]))
    return wanted
