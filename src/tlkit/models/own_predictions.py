"""Predict with a compiled function of tlkit's own, separate from the user's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tlkit._internal.logs import hide_retracing
from tlkit.models.inspection import probabilities_of

_NAME = "_tlkit_predict_function"


# Keras compiles one function for all predictions of a model, which accepts grey images with or
# without a channel axis. After images of both kinds, TensorFlow generalises the function to inputs
# of any rank, and it can no longer run. So the user's `model.predict` without a channel axis and
# `tlkit.evaluate`, which adds the axis, would break each other; each gets its own function.
@contextmanager
def own_function(model: keras.Model) -> Iterator[None]:
    """Let the model predict with tlkit's compiled function inside the block."""
    temperature = probabilities_of(model).temperature  # a constant in the compiled function
    users, own = model.predict_function, vars(model).get(_NAME, (None, None))
    model.predict_function = own[0] if own[1] == temperature else None
    try:
        with hide_retracing():
            yield
    finally:
        vars(model)[_NAME] = (model.predict_function, temperature)
        model.predict_function = users


def run_on_batch(reader: keras.Model, images: Any) -> Any:
    """Return the outputs of `predict_on_batch` of a model that tlkit has made, such as a reader.

    Args:
        reader: The model, which is compiled by its first call.
        images: The images.
    """
    with hide_retracing():
        return reader.predict_on_batch(images)


def predict(model: keras.Model, images: Any, *, batch_size: int) -> np.ndarray:
    """Return the probabilities of `model.predict`, `(count, classes)`."""
    with own_function(model):
        return np.asarray(model.predict(images, batch_size=batch_size, verbose=0))


def predict_on_batch(model: keras.Model, images: Any) -> np.ndarray:
    """Return the probabilities of `model.predict_on_batch`, `(batch, classes)`."""
    with own_function(model):
        return np.asarray(model.predict_on_batch(images))
