"""Predictions by a compiled function that a model's user does not share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tlkit.models.inspection import probabilities_of

_NAME = "_tlkit_predict_function"


# Keras compiles one function for all predictions of a model. After grey images with a channel axis
# and others without, both of which it takes, TensorFlow generalises that function to inputs of any
# rank, and it can no longer run. So `model.predict` without and `tlkit.evaluate`, which adds the
# axis, would break each other. Each gets a function of its own.
@contextmanager
def own_function(model: keras.Model) -> Iterator[None]:
    """Inside the block, the model predicts by tlkit's compiled function, not by its user's."""
    temperature = probabilities_of(model).temperature  # a compiled function holds it
    users, own = model.predict_function, vars(model).get(_NAME, (None, None))
    model.predict_function = own[0] if own[1] == temperature else None
    try:
        yield
    finally:
        vars(model)[_NAME] = (model.predict_function, temperature)
        model.predict_function = users


def predict(model: keras.Model, images: Any, *, batch_size: int) -> np.ndarray:
    """Return what `model.predict` does."""
    with own_function(model):
        return np.asarray(model.predict(images, batch_size=batch_size, verbose=0))


def predict_on_batch(model: keras.Model, images: Any) -> np.ndarray:
    """Return what `model.predict_on_batch` does, as an array."""
    with own_function(model):
        return np.asarray(model.predict_on_batch(images))
