"""Keras' own inference as one function, compiled once, and the batches a model is best run in."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

_BATCH_SIZES = (128, 64, 32, 16)
_WITHOUT_A_GRAPH = 32
# the bytes of a batch's largest tensor beyond which larger batches were measured to be no faster
_LARGEST = 4 * 2**20
_LARGEST_IN_KERAS = 32 * 2**20  # Keras spends milliseconds on every batch, whatever its size


def keras_function(
    trunk: keras.Model, sample: np.ndarray
) -> tuple[Callable[[np.ndarray], list[np.ndarray]], int]:
    """Return a model's inference as a function, and the one batch length it takes.

    On TensorFlow it is one graph, and never compiled by XLA, which is many times slower for
    depthwise convolutions on processors.

    Args:
        trunk: The model.
        sample: A batch of images such as will be run.
    """
    if keras.config.backend() != "tensorflow":
        return lambda images: _arrays(trunk.predict_on_batch(images)), _WITHOUT_A_GRAPH
    batch_size = batch_size_of(trunk, sample, largest=_LARGEST_IN_KERAS)
    graph = _traced(trunk, (batch_size, *sample.shape[1:]), sample.dtype)
    constant = importlib.import_module("tensorflow").constant
    return lambda images: _arrays(graph(constant(images))), batch_size


def batch_size_of(trunk: keras.Model, sample: np.ndarray, *, largest: int = _LARGEST) -> int:
    """Return the greatest usual batch length whose largest tensor has no more bytes than that."""
    graph = _traced(trunk, (None, *sample.shape[1:]), sample.dtype).graph
    tensors = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
    sizes = [
        int(np.prod(tensor.shape[1:])) * tensor.dtype.size
        for tensor in tensors
        if tensor.shape.rank and tensor.shape[0] is None and tensor.shape[1:].is_fully_defined()
    ]
    fitting = (size for size in _BATCH_SIZES if size * max(sizes, default=1) <= largest)
    return next(fitting, _BATCH_SIZES[-1])


def _traced(trunk: keras.Model, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> Any:
    tensorflow = importlib.import_module("tensorflow")
    forward = tensorflow.function(lambda images: trunk(images, training=False), autograph=False)
    return forward.get_concrete_function(tensorflow.TensorSpec(shape, dtype))


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]
