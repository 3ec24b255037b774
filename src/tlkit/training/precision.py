"""Train in float16 or bfloat16 (Micikevicius et al., 2017, arXiv:1710.03740), the head in float32.

The backbone's layers compute in 16 bits while a phase trains; weights, the update of weights, the
head and the probabilities stay in float32. Afterwards the layers are restored, so that a saved
classifier computes in float32, as on every machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import keras

from tlkit._internal.keras_private import flatten_layers
from tlkit.models.inspection import backbone_of

Precision = Literal["bfloat16", "float16", "float32"]
"""The precision in which the backbone computes while it trains."""

_TRACED = ("train_function", "test_function", "predict_function")


def scale_loss(
    optimizer: keras.optimizers.Optimizer, precision: Precision
) -> keras.optimizers.Optimizer:
    """Return an optimizer that scales the loss if gradients would be too small for float16.

    A step whose gradients overflow is skipped, and the scale is halved.
    """
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if precision != "float16" or is_scaled:
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


@contextmanager
def compute_in(model: keras.Model, precision: Precision) -> Iterator[None]:
    """Let the layers of a classifier's backbone compute in a precision inside the block."""
    if precision == "float32":
        yield
        return
    layers = [
        layer
        for layer in flatten_layers(backbone_of(model))
        if not isinstance(layer, keras.Model) and layer.dtype_policy.name == "float32"
    ]
    _set_policies(layers, f"mixed_{precision}")
    try:
        yield
    finally:
        _set_policies(layers, "float32")
        for name in _TRACED:  # these functions compute in 16 bits
            setattr(model, name, None)


def _set_policies(layers: list[Any], policy: str) -> None:
    for layer in layers:
        layer.dtype_policy = policy
