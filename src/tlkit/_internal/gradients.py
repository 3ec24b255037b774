"""The gradient of a number with respect to a tensor, on each backend of Keras."""

import importlib
from collections.abc import Callable
from typing import Any

import keras


def compute_gradient(function: Callable[[Any], Any], tensor: Any) -> Any:
    """Return the gradient of a function at a tensor; zeros if its result does not depend on it.

    Args:
        function: Takes a tensor of this shape; returns a tensor with a single number.
        tensor: A tensor of the backend with a floating-point dtype.

    Examples:
        >>> gradient = compute_gradient(keras.ops.sum, keras.ops.ones((2, 1)))
        >>> keras.ops.convert_to_numpy(gradient).tolist()
        [[1.0], [1.0]]
    """
    return _BACKENDS[keras.backend.backend()](function, tensor)


def _by_tensorflow(function: Callable[[Any], Any], tensor: Any) -> Any:
    tensorflow = importlib.import_module("tensorflow")
    with tensorflow.GradientTape() as tape:
        tape.watch(tensor)
        value = function(tensor)
    return tape.gradient(value, tensor, unconnected_gradients="zero")


def _by_jax(function: Callable[[Any], Any], tensor: Any) -> Any:
    return importlib.import_module("jax").grad(function)(tensor)


def _by_torch(function: Callable[[Any], Any], tensor: Any) -> Any:
    torch = importlib.import_module("torch")
    tensor = tensor.detach().requires_grad_()
    with torch.enable_grad():
        value = function(tensor)
    if not value.requires_grad:  # it depends neither on the tensor nor on a trainable weight
        return torch.zeros_like(tensor)
    (gradient,) = torch.autograd.grad(value, tensor, allow_unused=True)
    return torch.zeros_like(tensor) if gradient is None else gradient


_BACKENDS = {"jax": _by_jax, "tensorflow": _by_tensorflow, "torch": _by_torch}
