"""Layer-wise decay of the learning rate: what share of it each weight of a backbone has."""

import itertools
from collections.abc import Sequence

import keras

from tlkit.models.flat_graph import blocks, has_kernel


def layer_rates(backbone: keras.Model, decay: float) -> dict[int, float]:
    """Return, by each weight's identity, its share of the learning rate: `decay` for each block.

    The block before the head has the first power of `decay`, the one before it the second. What
    lies between two residual blocks is one block, where it holds a convolution or the like; a
    lone normalisation belongs to the block after it. Without residual blocks, each such layer is
    one, with what follows it.
    """
    power = 0
    powers: dict[int, int] = {}
    for block in reversed(_blocks(backbone)):
        power += any(has_kernel(layer) for layer in block)
        powers |= {id(weight): max(power, 1) for layer in block for weight in layer.weights}
    return {weight: decay**power for weight, power in powers.items()}


def _blocks(backbone: keras.Model) -> list[list[keras.Layer]]:
    """Return the layers in runs: residual blocks and what lies between, or one for each kernel."""
    numbers: Sequence[int | None] = blocks(backbone)
    if not any(number is not None for number in numbers):
        numbers = list(itertools.accumulate(map(has_kernel, backbone.layers)))
    pairs = zip(numbers, backbone.layers, strict=True)
    runs = itertools.groupby(pairs, key=lambda pair: pair[0])
    return [[layer for _, layer in run] for _, run in runs]
