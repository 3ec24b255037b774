"""Run Keras' own inference as one traced function, count its work, and choose a batch size."""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

_BATCH_SIZES = (128, 64, 32, 16)
_EAGER_BATCH_SIZE = 32
# beyond this size of a tensor, larger batches were measured to be no faster
_MAX_TENSOR_BYTES = 4 * 2**20
_MAX_TENSOR_BYTES_IN_KERAS = 32 * 2**20  # larger, since Keras spends milliseconds on every batch
_OUTER_KERNEL_AXES = {"Conv2D": 1, "DepthwiseConv2dNative": 2, "MatMul": 1}  # also in the output


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedModel:
    """A model's inference as a function of a batch of any length.

    On TensorFlow it is one graph, without XLA, whose depthwise convolutions are many times slower
    on CPUs.

    Attributes:
        run: Takes a batch of images; returns an array per output.
        num_kernels: The number of convolutions and matrix products; 0 without a graph.
        multiply_adds: The multiply-adds of these operations for one image.
        max_image_bytes: The bytes of the largest tensor for one image; 0 without a graph.
    """

    run: Callable[[np.ndarray], list[np.ndarray]]
    num_kernels: int = 0
    multiply_adds: int = 0
    max_image_bytes: int = 0

    @property
    def keras_batch_size(self) -> int:
        """The number of images that Keras runs at a time."""
        if not self.max_image_bytes:
            return _EAGER_BATCH_SIZE
        return self.choose_batch_size(_MAX_TENSOR_BYTES_IN_KERAS)

    def choose_batch_size(self, max_bytes: int = _MAX_TENSOR_BYTES) -> int:
        """Return the largest batch size with which no tensor has more than this many bytes."""
        fitting = (size for size in _BATCH_SIZES if size * self.max_image_bytes <= max_bytes)
        return next(fitting, _BATCH_SIZES[-1])


def trace(model: keras.Model, sample: np.ndarray) -> TracedModel:
    """Return a model's inference as a function.

    Args:
        model: Called as `model(images, training=False)`, it returns a list of tensors.
        sample: A batch of images of the shape and dtype that will be run.
    """
    if keras.config.backend() != "tensorflow" or _runs_functions_eagerly():
        return TracedModel(run=partial(_run_batch, model))
    tensorflow = importlib.import_module("tensorflow")
    forward = tensorflow.function(lambda images: model(images, training=False), autograph=False)
    function = forward.get_concrete_function(
        tensorflow.TensorSpec((None, *sample.shape[1:]), sample.dtype)
    )
    operations = function.graph.get_operations()
    work = [count for each in operations if (count := _count_multiply_adds(each))]
    return TracedModel(
        run=lambda images: _to_arrays(function(tensorflow.constant(images))),
        num_kernels=len(work),
        multiply_adds=sum(work),
        max_image_bytes=max(
            (_count_bytes(tensor) for each in operations for tensor in each.outputs), default=0
        ),
    )


def _run_batch(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """Run a model on a batch as a tensor, since Keras warns about arrays on torch."""
    return _to_arrays(model.predict_on_batch(keras.ops.convert_to_tensor(images)))


def _count_multiply_adds(operation: Any) -> int:
    """Return the multiply-adds of a graph's operation for one image."""
    outer = _OUTER_KERNEL_AXES.get(operation.type)
    if outer is None or not _has_images(operation.outputs[0]):
        return 0
    kernel = operation.inputs[1].shape
    if not kernel.is_fully_defined():
        return 0
    return int(math.prod(operation.outputs[0].shape[1:]) * math.prod(kernel[: len(kernel) - outer]))


def _count_bytes(tensor: Any) -> int:
    """Return the bytes of a graph's tensor for one image; 0 if it has no axis for images."""
    return int(np.prod(tensor.shape[1:])) * tensor.dtype.size if _has_images(tensor) else 0


def _has_images(tensor: Any) -> bool:
    shape = tensor.shape
    return bool(shape.rank and shape[0] is None and shape[1:].is_fully_defined())


def _runs_functions_eagerly() -> bool:
    """Return whether TensorFlow is set to run functions without graphs, for debugging.

    A graph that is traced in that mode lacks the parts that Keras compiles with XLA, such as
    grouped convolutions, and fails when it is run.
    """
    eagerly: bool = importlib.import_module("tensorflow").config.functions_run_eagerly()
    return eagerly


def _to_arrays(outputs: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]
