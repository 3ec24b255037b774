"""The state of a classifier and of random numbers, as arrays that a checkpoint can store."""

import importlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tlkit._internal.keras_private import random_states
from tlkit.models.inspection import probabilities_of
from tlkit.training.callback_state import from_plain, to_plain


def model_state(model: keras.Model) -> list[Any]:
    """Return the variables of a classifier that training changes: weights and random states."""
    return [*model.weights, *random_states([model])]


def get_model(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the state of a classifier as arrays by name."""
    probabilities = probabilities_of(model)
    stored = {f"stored/{name}": np.asarray(each) for name, each in probabilities.stored.items()}
    return {**number_arrays("model", model_state(model)), **stored}


def set_model(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Set a classifier to a state that `get_model` returned."""
    assign(model_state(model), arrays, "model")
    probabilities = probabilities_of(model)
    for name, array in arrays.items():
        if name.startswith("stored/"):
            probabilities.stored[name.removeprefix("stored/")] = array


def reset_calibration(model: keras.Model) -> None:
    """Remove everything from a classifier that was fitted to its predictions."""
    probabilities = probabilities_of(model)
    probabilities.temperature, probabilities.thresholds = 1.0, None
    probabilities.stored.clear()


def number_arrays(prefix: str, variables: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the values of variables, named by a prefix and their index."""
    return {f"{prefix}/{number}": to_array(each) for number, each in enumerate(variables)}


def to_array(variable: Any) -> np.ndarray:
    """Return a copy of a variable's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


def assign(variables: Sequence[Any], arrays: Mapping[str, np.ndarray], prefix: str) -> None:
    """Set variables to values that `number_arrays` returned."""
    for number, variable in enumerate(variables):
        array = arrays[f"{prefix}/{number}"]
        dtype = to_array(variable).dtype
        variable.assign(array if array.dtype == dtype else array.view(dtype))  # bfloat16 as bits


def get_random_numbers(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the states of the global random numbers of Python, NumPy and, if used, PyTorch.

    Args:
        arrays: A dict to which the arrays of these states are added.
    """
    states: dict[str, Any] = {"python": random.getstate(), "numpy": np.random.get_state()}
    if keras.backend.backend() == "torch":  # for the order of images, and for dropout
        states["torch"] = importlib.import_module("torch").get_rng_state().numpy()
    own: dict[str, np.ndarray] = {}
    plain = to_plain(states, own)
    arrays |= {f"numbers/{name}": each for name, each in own.items()}
    return dict(plain)


def set_random_numbers(plain: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Set the states to those that `get_random_numbers` returned."""
    values = from_plain(plain, arrays, "numbers/")
    random.setstate(values["python"])
    np.random.set_state(values["numpy"])
    if "torch" in values:
        torch = importlib.import_module("torch")
        torch.set_rng_state(torch.from_numpy(values["torch"]))
