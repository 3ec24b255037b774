import itertools

import keras
import numpy as np
import pytest

from tlkit.caching import kernels
from tlkit.caching.kernels import REWRITES

PRODUCT, MULTIPLY_ADDS, DEPTHWISE = (rewrite.name for rewrite in REWRITES)


def _maps(height: int, width: int, channels: int = 6) -> np.ndarray:
    shape = (4, height, width, channels)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _agrees(layer: keras.Layer, maps: np.ndarray, name: str) -> None:
    expected = keras.ops.convert_to_numpy(layer(maps))
    for variable in layer.weights:  # a bias of zeros would hide that it is left out
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    expected = keras.ops.convert_to_numpy(layer(maps))
    rewrite = kernels.find_rewrite(layer, maps.shape, compiled=True)
    assert rewrite is not None
    assert rewrite.name == name
    found = rewrite.make(layer, maps.shape)(keras.ops.convert_to_tensor(maps))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 3), (1, 3), (2, 4)])
def test_a_small_depthwise_convolution_is_the_same_for_every_kernel_stride_and_padding(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    monkeypatch.setattr(kernels, "_MAX_PRODUCTS", 1000)
    for size, stride, padding in itertools.product((1, 2, 3, 5), (1, 2, 3), ("same", "valid")):
        if padding == "same" or size <= min(height, width):
            layer = keras.layers.DepthwiseConv2D(size, stride, padding=padding, activation="relu")
            _agrees(layer, _maps(height, width), MULTIPLY_ADDS)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_pointwise_convolution_is_the_same(stride: int, bias: bool) -> None:
    layer = keras.layers.Conv2D(5, 1, stride, use_bias=bias, activation="tanh")
    _agrees(layer, _maps(5, 4), PRODUCT)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_grouped_convolution_is_the_same(multiplier: int, padding: str) -> None:
    layer = keras.layers.Conv2D(6 * multiplier, 3, 2, groups=6, padding=padding)
    _agrees(layer, _maps(7, 5), DEPTHWISE)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(6, 3),
        keras.layers.Conv2D(6, 1, groups=2),
        keras.layers.Conv2D(6, 1, dtype="mixed_float16"),
        keras.layers.Conv2D(6, 1, activity_regularizer="l2"),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        keras.layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
        keras.layers.BatchNormalization(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_is_not_known_is_left_alone(layer: keras.Layer) -> None:
    assert kernels.find_rewrite(layer, (4, 3, 3, 6), compiled=True) is None


def test_a_depthwise_convolution_waits_for_xla() -> None:
    layer = keras.layers.DepthwiseConv2D(3, padding="same")
    assert kernels.find_rewrite(layer, (4, 2, 2, 6), compiled=False) is None
    assert kernels.find_rewrite(layer, (4, 2, 2, 6), compiled=True) is REWRITES[1]
    assert kernels.find_rewrite(layer, (4, 3, 3, 6), compiled=True) is None


def test_a_large_depthwise_convolution_is_left_alone() -> None:
    assert (
        kernels.find_rewrite(keras.layers.DepthwiseConv2D(3), (4, 9, 9, 6), compiled=True) is None
    )


def test_a_subclass_is_left_alone_for_its_call_may_be_another() -> None:
    class Doubled(keras.layers.Conv2D):
        def call(self, inputs: object) -> object:
            return 2 * super().call(inputs)

    assert kernels.find_rewrite(Doubled(6, 1), (4, 3, 3, 6), compiled=True) is None


def test_the_gradient_reaches_the_same_variable() -> None:
    import tensorflow as tf

    maps = _maps(2, 2)
    layer = keras.layers.DepthwiseConv2D(3, padding="same")
    layer(maps)
    gradients = []
    rewrite = kernels.find_rewrite(layer, maps.shape, compiled=True)
    assert rewrite is not None
    for call in (layer, rewrite.make(layer, maps.shape)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(call(tf.constant(maps)) ** 2)
        gradients.append(tape.gradient(loss, layer.kernel.value))
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)
