"""Restore Keras variables after a block, and seed random layers from a key."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tlkit._internal.keras_private import flatten_layers, random_states


@contextmanager
def restore_on_exit(variables: Sequence[Any]) -> Iterator[None]:
    """Restore variables on exit.

    Args:
        variables: Keras variables: weights, statistics, or random states.
    """
    saved = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)


@contextmanager
def restore_model_on_exit(model: Any) -> Iterator[None]:
    """Restore a model on exit: weights, statistics, random states, and which layers are trainable.

    Args:
        model: The model; another value, such as the name of a backbone, has nothing to restore.

    Examples:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> with restore_model_on_exit(model):
        ...     model.trainable = False
        ...     _ = model.layers[0].bias.assign([7.0])
        >>> model.trainable, float(keras.ops.sum(model.layers[0].bias))
        (True, 0.0)
    """
    if not isinstance(model, keras.Model):
        yield
        return
    flags = [(layer, layer.trainable) for layer in flatten_layers(model)]
    try:
        with restore_on_exit(model.variables):
            yield
    finally:
        for layer, flag in flags:
            layer.trainable = flag  # parents first, since they set their children's flag


def set_state(state: Any, key: bytes) -> None:
    """Set a random state to a value that depends only on the key.

    A digest maps keys that differ in one bit to unrelated seeds.

    Args:
        state: A variable of `keras_private.random_states`.
        key: The bytes from which the value is derived.
    """
    seed = np.frombuffer(hashlib.blake2b(key, digest_size=8).digest(), "uint32")
    state.assign(seed.astype(keras.backend.standardize_dtype(state.dtype)))


def seed_layers(layers: Iterable[keras.layers.Layer], seed: int) -> None:
    """Set the random states of layers from a seed, whatever the layers' own seeds are."""
    for number, state in enumerate(random_states(layers)):
        set_state(state, f"{seed} {number}".encode())


@contextmanager
def temporary_seed(layers: Sequence[keras.layers.Layer], seed: int | None) -> Iterator[None]:
    """Seed layers inside the block, and restore their states on exit; None has no effect."""
    if seed is None:
        yield
        return
    with restore_on_exit(random_states(layers)):
        seed_layers(layers, seed)
        yield
