"""Compute layers in cheaper ways, with the same variables and the same results."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

Shape = tuple[int, ...]
Call = Callable[..., Any]

_MAX_PRODUCTS = 16  # of positions and kernel taps: a 3x3 kernel has 16 on 2x2 maps, 49 on 3x3 maps


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """One way to compute a layer with less work.

    Attributes:
        name: The layer and its replacement.
        compiled: Whether it is only faster if XLA compiles it.
        fits: Returns whether a layer can be computed this way, for an input shape.
        make: Returns the function to call instead of the layer, for an input shape.
    """

    name: str
    compiled: bool
    fits: Callable[[Any, Shape], bool]
    make: Callable[[Any, Shape], Call]


def find_rewrite(layer: Any, shape: Shape, *, compiled: bool) -> Rewrite | None:
    """Return the first rewrite that fits a layer and its input's shape; None if none does.

    Rewrites are faster on CPUs with the TensorFlow backend, and are only used there.

    Args:
        layer: A layer or operation.
        shape: The shape of its input, with the batch axis.
        compiled: Whether XLA will compile the function.
    """
    if not (_uses_tensorflow_cpu() and _has_plain_call(layer)):
        return None
    fitting = (each for each in REWRITES if each.fits(layer, shape))
    return next((each for each in fitting if compiled or not each.compiled), None)


def _uses_tensorflow_cpu() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _has_plain_call(layer: Any) -> bool:
    """Return whether a layer computes only its `call`, without casts, penalties or adapters."""
    return (
        isinstance(layer, keras.Layer)
        and layer.compute_dtype == layer.variable_dtype == "float32"
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and layer.activity_regularizer is None
        and layer.quantization_mode is None
        and not getattr(layer, "lora_enabled", False)
    )


def _is_convolution(layer: Any) -> bool:
    return type(layer) is keras.layers.Conv2D and tuple(layer.dilation_rate) == (1, 1)


def _is_pointwise(layer: Any, shape: Shape) -> bool:
    return _is_convolution(layer) and layer.kernel_size == (1, 1) and layer.groups == 1


def _make_product(layer: Any, shape: Shape) -> Call:
    channels, (down, right) = shape[-1], layer.strides

    def call(maps: Any) -> Any:
        maps = maps[:, ::down, ::right]
        rows = keras.ops.reshape(maps, (-1, channels))
        product = keras.ops.matmul(rows, keras.ops.reshape(layer.kernel, (channels, -1)))
        return _activate(layer, keras.ops.reshape(product, (-1, *maps.shape[1:3], layer.filters)))

    return call


def _is_small_depthwise(layer: Any, shape: Shape) -> bool:
    return (
        type(layer) is keras.layers.DepthwiseConv2D
        and layer.depth_multiplier == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and math.prod(sum(map(len, axis)) for axis in _pair_axes(layer, shape)) <= _MAX_PRODUCTS
    )


def _make_multiply_adds(layer: Any, shape: Shape) -> Call:
    """Compute each output position as the sum of its input positions times the kernel's taps.

    Products with the padding are left out, which are eight of nine on a 1x1 map.
    """
    channels = shape[-1]
    rows, columns = _pair_axes(layer, shape)

    def call(maps: Any) -> Any:
        taps = keras.ops.reshape(layer.kernel, (*layer.kernel_size, channels))
        sums = [
            sum(
                maps[:, row, column] * taps[down, right]
                for row, down in above
                for column, right in beside
            )
            for above in rows
            for beside in columns
        ]
        shape = (-1, len(rows), len(columns), channels)
        return _activate(layer, keras.ops.reshape(keras.ops.stack(sums, axis=1), shape))

    return call


def _pair_axes(layer: Any, shape: Shape) -> list[list[list[tuple[int, int]]]]:
    lengths = zip(shape[1:3], layer.kernel_size, layer.strides, strict=True)
    return [_pair_axis(length, size, stride, layer.padding) for length, size, stride in lengths]


def _pair_axis(length: int, size: int, stride: int, padding: str) -> list[list[tuple[int, int]]]:
    """Return, for each output position on an axis, pairs of an input position and a tap."""
    before = 0
    count = (length - size) // stride + 1
    if padding == "same":
        count = -(-length // stride)
        before = max((count - 1) * stride + size - length, 0) // 2
    starts = [place * stride - before for place in range(count)]
    return [
        [(start + tap, tap) for tap in range(size) if 0 <= start + tap < length] for start in starts
    ]


def _is_grouped_depthwise(layer: Any, shape: Shape) -> bool:
    return _is_convolution(layer) and layer.groups == shape[-1] > 1


def _make_depthwise(layer: Any, shape: Shape) -> Call:
    rows, columns = layer.kernel_size
    channels = shape[-1]

    def call(maps: Any) -> Any:
        kernel = keras.ops.reshape(layer.kernel, (rows, columns, channels, -1))
        result = keras.ops.depthwise_conv(
            maps, kernel, strides=layer.strides, padding=layer.padding, data_format="channels_last"
        )
        return _activate(layer, result)

    return call


def _activate(layer: Any, result: Any) -> Any:
    result = result if layer.bias is None else result + layer.bias
    return result if layer.activation is None else layer.activation(result)


REWRITES = (
    Rewrite(
        name="1x1 convolution as a matrix product",
        compiled=False,
        fits=_is_pointwise,
        make=_make_product,
    ),
    Rewrite(
        name="depthwise convolution of a small map as multiply-adds",
        compiled=True,
        fits=_is_small_depthwise,
        make=_make_multiply_adds,
    ),
    Rewrite(
        name="convolution in one group a channel as a depthwise one",
        compiled=False,
        fits=_is_grouped_depthwise,
        make=_make_depthwise,
    ),
)
"""All rewrites; the first that fits is used. To add one, add an entry."""
