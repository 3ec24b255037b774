"""Keras' own inference as one traced function, and the batch size to run a model in."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

_BATCH_SIZES = (128, 64, 32, 16)
_EAGER_BATCH_SIZE = 32
# larger batches were measured to be no faster if a tensor has more bytes than these
_MAX_TENSOR_BYTES = 4 * 2**20
_MAX_TENSOR_BYTES_IN_KERAS = 32 * 2**20  # Keras spends milliseconds on every batch


def make_keras_function(
    trunk: keras.Model, sample: np.ndarray, *, batch_size: int | None = None
) -> tuple[Callable[[np.ndarray], list[np.ndarray]], int]:
    """Return a model's inference as a function, and the batch size that it takes.

    On TensorFlow it is one graph, not compiled by XLA, whose depthwise convolutions are many
    times slower on CPUs.

    Args:
        trunk: The model.
        sample: A batch of images of the shape and dtype that will be run.
        batch_size: The batch size; by default one that is fast.
    """
    if keras.config.backend() != "tensorflow" or _runs_functions_eagerly():
        return lambda images: _to_arrays(trunk.predict_on_batch(images)), (
            batch_size or _EAGER_BATCH_SIZE
        )
    batch_size = batch_size or choose_batch_size(
        trunk, sample, max_bytes=_MAX_TENSOR_BYTES_IN_KERAS
    )
    graph = _trace(trunk, (batch_size, *sample.shape[1:]), sample.dtype)
    constant = importlib.import_module("tensorflow").constant
    return lambda images: _to_arrays(graph(constant(images))), batch_size


def choose_batch_size(
    trunk: keras.Model, sample: np.ndarray, *, max_bytes: int = _MAX_TENSOR_BYTES
) -> int:
    """Return the largest batch size with which no tensor has more than this many bytes."""
    graph = _trace(trunk, (None, *sample.shape[1:]), sample.dtype).graph
    tensors = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
    sizes = [
        int(np.prod(tensor.shape[1:])) * tensor.dtype.size
        for tensor in tensors
        if tensor.shape.rank and tensor.shape[0] is None and tensor.shape[1:].is_fully_defined()
    ]
    fitting = (size for size in _BATCH_SIZES if size * max(sizes, default=1) <= max_bytes)
    return next(fitting, _BATCH_SIZES[-1])


def _runs_functions_eagerly() -> bool:
    """Return whether TensorFlow was asked to debug without graphs.

    A graph traced meanwhile lacks the parts that Keras compiles by XLA, such as grouped
    convolutions, and fails where it runs.
    """
    eagerly: bool = importlib.import_module("tensorflow").config.functions_run_eagerly()
    return eagerly


def _trace(trunk: keras.Model, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> Any:
    tensorflow = importlib.import_module("tensorflow")
    forward = tensorflow.function(lambda images: trunk(images, training=False), autograph=False)
    return forward.get_concrete_function(tensorflow.TensorSpec(shape, dtype))


def _to_arrays(outputs: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]
