"""The one place that uses Keras' underscored parts, which may change with any version of Keras."""

import importlib
import math
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from keras.src.backend import config
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib

from tlkit._internal import temporaries

_SHARED_GENERATOR = "global_seed_generator"
_ADDING = threading.RLock()


def flatten_layers(*layers: Any) -> list[Any]:
    """Return layers and all those inside them; Keras has no public walk that enters every layer."""
    return [part for layer in layers for part in layer._flatten_layers()]


def inner_layers(layer: Any) -> list[Any]:
    """Return the layers directly inside a layer."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def set_shape(tensor: Any, shape: Iterable[int | None]) -> None:
    """Set the shape of a symbolic tensor, if the layer that returned it states another."""
    tensor._shape = tuple(shape)


def has_graph(model: Any) -> bool:
    """Tell whether a model is functional; a Sequential or subclassed one has no nodes."""
    return hasattr(model, "_nodes_by_depth")


def functional_inside(model: keras.Model) -> Any:
    """Return the functional model that a built Sequential keeps inside; None for other models."""
    return getattr(model, "_functional", None)


def nodes_in_order(model: Any) -> list[Any]:
    """Return the calls that make up a functional model, each after those it depends on.

    A shared layer has more nodes elsewhere: only these belong to the model.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth]]


def nodes_of(layer: Any, model: Any) -> list[Any]:
    """Return the calls of a layer that belong to a functional model."""
    own = {id(node) for node in nodes_in_order(model)}
    return [node for node in layer._inbound_nodes if id(node) in own]


def operation_of(tensor: Any) -> Any:
    """Return the layer or operation whose call gave a symbolic tensor."""
    return tensor._keras_history.operation


def own_trainable(layer: Any) -> list[Any]:
    """Return a layer's own trainable variables, without those of layers inside it."""
    return list(layer._trainable_variables)


def own_non_trainable(layer: Any) -> list[Any]:
    """Return a layer's own statistics, without those of layers inside it."""
    return list(layer._non_trainable_variables)


def seed_generators(layer: Any) -> list[Any]:
    """Return a layer's own seed generators; an operation that is no layer has none."""
    return list(getattr(layer, "_seed_generators", ()))


def random_states(layers: Iterable[Any]) -> list[Any]:
    """Return the variables that layers, and those inside them, draw random numbers from."""
    parts = flatten_layers(*layers)
    return [generator.state for part in parts for generator in seed_generators(part)]


def build_metrics(model: keras.Model, batch: Any) -> None:
    """Create the variables of a compiled model's metrics, which Keras does in the first step.

    Args:
        model: The model.
        batch: Shapes and dtypes of a batch, as `tf.TensorSpec` has them.
    """
    model._symbolic_build(data_batch=batch)


def shared_generator() -> Any:
    """Return the seed generator that layers without a seed use; None before its first use."""
    return global_state.get_global_attribute(_SHARED_GENERATOR)


def set_shared_generator(generator: Any) -> None:
    """Replace the seed generator that layers without a seed use."""
    global_state.set_global_attribute(_SHARED_GENERATOR, generator)


def is_registered(name: str) -> bool:
    """Return whether a class or function of this name was registered, as by a decorator."""
    return keras.saving.get_registered_object(name) is not None


@contextmanager
def bounded_weights(limit: int) -> Iterator[None]:
    """Let layers that are made in this thread have this many numbers as weights, all together.

    A layer that would have more is refused before its memory is taken, by a ValueError.
    """
    owner, add_weight, total = threading.get_ident(), keras.layers.Layer.add_weight, 0

    def add_bounded(self: Any, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
        nonlocal total
        if threading.get_ident() == owner:
            total += math.prod(shape or ())
            if total > limit:
                raise ValueError(f"its layers would have more than the {limit:,} weights stored")
        return add_weight(self, shape, *args, **kwargs)

    with _ADDING:
        keras.layers.Layer.add_weight = add_bounded
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = add_weight


@contextmanager
def owned_temporary_folders() -> Iterator[None]:
    """Let Keras make its temporary folders as `temporaries` does: a killed process leaves them.

    Keras makes one for each model that it saves or loads, under a name that says nothing.
    """
    made: list[Path] = []

    def make() -> str:
        made.append(temporaries.reserve(Path(tempfile.gettempdir())))
        made[-1].mkdir(mode=0o700)
        return str(made[-1])

    before, saving_lib.get_temp_dir = saving_lib.get_temp_dir, make
    try:
        yield
    finally:
        saving_lib.get_temp_dir = before
        for folder in made:
            temporaries.remove(folder)


def keras_home() -> str:
    """Return the folder of Keras' cache: `KERAS_HOME`, or `~/.keras`."""
    return str(config.keras_home())


# Keras takes the layout of an epoch's first batch for all of them. The last batch may be smaller,
# and JAX refuses to divide what can't be divided.
def lay_out_every_batch() -> None:
    """Let Keras ask the distribution on JAX for the layout of every batch of an epoch."""
    trainer: Any = importlib.import_module("keras.src.backend.jax.trainer")

    def iterate(self: Any, distribution: Any) -> Iterator[Any]:
        for batch in self.data_adapter.get_jax_iterator():
            yield trainer._distribute_data(batch)

    trainer.JAXEpochIterator._get_distributed_iterator = iterate
