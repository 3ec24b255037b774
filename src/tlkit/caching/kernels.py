"""The same layers, computed in cheaper ways on the same variables."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

Shape = tuple[int, ...]
Call = Callable[..., Any]

_FEW_PRODUCTS = 16  # of a position with a tap: a 3x3 kernel has 16 on a 2x2 map, 49 on a 3x3


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """One way to compute a layer for less.

    Attributes:
        name: What is computed in place of what.
        compiled: Whether it helps only where XLA compiles what it is part of.
        fits: Tells whether a layer that is given tensors of this shape can be computed so.
        make: Returns the function to call in the layer's place, for tensors of this shape.
    """

    name: str
    compiled: bool
    fits: Callable[[Any, Shape], bool]
    make: Callable[[Any, Shape], Call]


def find(layer: Any, shape: Shape, *, compiled: bool) -> Rewrite | None:
    """Return the first rewrite that fits a layer given tensors of this shape, if one does.

    They were measured on processors with the TensorFlow backend, and are used nowhere else.

    Args:
        layer: A layer or operation.
        shape: The shape it is given, the batch axis included.
        compiled: Whether XLA is to compile it.
    """
    if not (_on_processor() and _plain(layer)):
        return None
    fitting = (each for each in REWRITES if each.fits(layer, shape))
    return next((each for each in fitting if compiled or not each.compiled), None)


def _on_processor() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _plain(layer: Any) -> bool:
    """Tell whether a layer does nothing around its `call` that a rewrite would leave out."""
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


def _as_product(layer: Any, shape: Shape) -> Call:
    channels, (down, right) = shape[-1], layer.strides

    def call(maps: Any) -> Any:
        maps = maps[:, ::down, ::right]
        rows = keras.ops.reshape(maps, (-1, channels))
        product = keras.ops.matmul(rows, keras.ops.reshape(layer.kernel, (channels, -1)))
        return _finished(layer, keras.ops.reshape(product, (-1, *maps.shape[1:3], layer.filters)))

    return call


def _is_small_depthwise(layer: Any, shape: Shape) -> bool:
    return (
        type(layer) is keras.layers.DepthwiseConv2D
        and layer.depth_multiplier == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and math.prod(sum(map(len, axis)) for axis in _joined_axes(layer, shape)) <= _FEW_PRODUCTS
    )


def _as_multiply_adds(layer: Any, shape: Shape) -> Call:
    """Add up each position of the input times the tap that joins it to a position of the output.

    Taps that only ever meet the padding are left out: of nine on a 1x1 map, eight.
    """
    channels = shape[-1]
    rows, columns = _joined_axes(layer, shape)

    def call(maps: Any) -> Any:
        taps = keras.ops.reshape(layer.kernel, (*layer.kernel_size, channels))
        made = [
            sum(
                maps[:, row, column] * taps[down, right]
                for row, down in above
                for column, right in beside
            )
            for above in rows
            for beside in columns
        ]
        shape = (-1, len(rows), len(columns), channels)
        return _finished(layer, keras.ops.reshape(keras.ops.stack(made, axis=1), shape))

    return call


def _joined_axes(layer: Any, shape: Shape) -> list[list[list[tuple[int, int]]]]:
    lengths = zip(shape[1:3], layer.kernel_size, layer.strides, strict=True)
    return [_joined(length, size, stride, layer.padding) for length, size, stride in lengths]


def _joined(length: int, size: int, stride: int, padding: str) -> list[list[tuple[int, int]]]:
    """Return, for each position of the output, the positions of the input and their taps."""
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


def _as_depthwise(layer: Any, shape: Shape) -> Call:
    rows, columns = layer.kernel_size
    channels = shape[-1]

    def call(maps: Any) -> Any:
        kernel = keras.ops.reshape(layer.kernel, (rows, columns, channels, -1))
        result = keras.ops.depthwise_conv(
            maps, kernel, strides=layer.strides, padding=layer.padding, data_format="channels_last"
        )
        return _finished(layer, result)

    return call


def _finished(layer: Any, result: Any) -> Any:
    result = result if layer.bias is None else result + layer.bias
    return result if layer.activation is None else layer.activation(result)


REWRITES = (
    Rewrite(
        name="1x1 convolution as a matrix product",
        compiled=False,
        fits=_is_pointwise,
        make=_as_product,
    ),
    Rewrite(
        name="depthwise convolution of a small map as multiply-adds",
        compiled=True,
        fits=_is_small_depthwise,
        make=_as_multiply_adds,
    ),
    Rewrite(
        name="convolution in one group a channel as a depthwise one",
        compiled=False,
        fits=_is_grouped_depthwise,
        make=_as_depthwise,
    ),
)
"""Every rewrite; the first that fits is used. Another is one more entry."""
