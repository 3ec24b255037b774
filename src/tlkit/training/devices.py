"""Share each batch among the devices of this process, by `keras.distribution` on JAX."""

from typing import Any

import keras
from typing_extensions import override

from tlkit._internal import arguments
from tlkit._internal.keras_private import lay_out_every_batch
from tlkit._internal.signatures import check_arguments
from tlkit.errors import Argument, ConfigError


class SharedBatches(keras.distribution.DataParallel):
    """Gives every device an equal part of a batch, or the whole batch if it can't be divided.

    The last batch of an epoch often can't be divided. Then every device computes the same result,
    which equals that of one device.
    """

    @override
    def get_data_layout(self, data_shape: Any) -> Any:
        """Return the layout of a batch of this shape on the devices."""
        layout = super().get_data_layout(data_shape)
        if data_shape[0] % self.device_mesh.shape[0] == 0:
            return layout
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


@check_arguments
def use_devices(count: int | None = None) -> int:
    """Let runs share each batch among devices; build or load the classifier afterwards.

    The batch size stays the total of all devices. Losses, gradients and the statistics of
    BatchNormalization are those of the whole batch, as on one device, except for rounding.

    Args:
        count: The number of devices; by default all devices of JAX.

    Returns:
        The number of devices in use.

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
