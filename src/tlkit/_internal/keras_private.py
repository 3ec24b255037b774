"""The only module that uses Keras' private parts, which may change with any version of Keras."""

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
    """Return layers and all layers inside them; Keras' public functions skip some of these."""
    return [part for layer in layers for part in layer._flatten_layers()]


def inner_layers(layer: Any) -> list[Any]:
    """Return the layers directly inside a layer."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def set_shape(tensor: Any, shape: Iterable[int | None]) -> None:
    """Set the shape of a symbolic tensor, for a layer that states a wrong one."""
    tensor._shape = tuple(shape)


def has_graph(model: Any) -> bool:
    """Return whether a model is functional; a Sequential or subclassed model has no nodes."""
    return hasattr(model, "_nodes_by_depth")


def functional_inside(model: keras.Model) -> Any:
    """Return the functional model inside a built Sequential model; None for other models."""
    return getattr(model, "_functional", None)


def nodes_in_order(model: Any) -> list[Any]:
    """Return the calls of layers in a functional model, each after the calls it depends on.

    A shared layer may have more calls, which belong to other models; these are left out.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth]]


def nodes_of(layer: Any, model: Any) -> list[Any]:
    """Return the calls of a layer that belong to a functional model."""
    own = {id(node) for node in nodes_in_order(model)}
    return [node for node in layer._inbound_nodes if id(node) in own]


def operation_of(tensor: Any) -> Any:
    """Return the layer or operation whose call returned a symbolic tensor."""
    return tensor._keras_history.operation


def own_trainable(layer: Any) -> list[Any]:
    """Return a layer's own trainable variables, without those of layers inside it."""
    return list(layer._trainable_variables)


def own_non_trainable(layer: Any) -> list[Any]:
    """Return a layer's own non-trainable variables, without those of layers inside it."""
    return list(layer._non_trainable_variables)


def seed_generators(layer: Any) -> list[Any]:
    """Return a layer's own seed generators; an operation that is not a layer has none."""
    return list(getattr(layer, "_seed_generators", ()))


def random_states(layers: Iterable[Any]) -> list[Any]:
    """Return the random states of layers and of the layers inside them."""
    parts = flatten_layers(*layers)
    return [generator.state for part in parts for generator in seed_generators(part)]


def build_metrics(model: keras.Model, batch: Any) -> None:
    """Create the variables of a compiled model's metrics, which Keras does in the first step.

    Args:
        model: The model.
        batch: Shapes and dtypes of a batch, as `tf.TensorSpec` or similar.
    """
    model._symbolic_build(data_batch=batch)


def shared_generator() -> Any:
    """Return the seed generator of all layers without their own seed; None before its first use."""
    return global_state.get_global_attribute(_SHARED_GENERATOR)


def set_shared_generator(generator: Any) -> None:
    """Replace the seed generator of all layers without their own seed."""
    global_state.set_global_attribute(_SHARED_GENERATOR, generator)


def is_registered(name: str) -> bool:
    """Return whether a class or function of this name was registered, as by a decorator."""
    return keras.saving.get_registered_object(name) is not None


@contextmanager
def bounded_weights(limit: int) -> Iterator[None]:
    """Limit the total number of weights of the layers that this thread creates inside the block.

    A layer that would exceed the limit raises a ValueError before it takes any memory.
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
    """Let Keras create its temporary folders as `temporaries` does, so that no leftover stays.

    Keras creates one for each model that it saves or loads. A killed process would leave it behind
    under a name from which no other process can tell whether it is still in use.
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


# Keras uses the layout of an epoch's first batch for all batches. The last batch may be smaller,
# and JAX raises an error if its number of images is not divisible by the number of devices.
def lay_out_every_batch() -> None:
    """Let Keras on JAX ask the distribution for the layout of every batch of an epoch."""
    trainer: Any = importlib.import_module("keras.src.backend.jax.trainer")

    def iterate(self: Any, distribution: Any) -> Iterator[Any]:
        for batch in self.data_adapter.get_jax_iterator():
            yield trainer._distribute_data(batch)

    trainer.JAXEpochIterator._get_distributed_iterator = iterate
