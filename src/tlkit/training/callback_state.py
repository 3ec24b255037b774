"""What a callback of Keras has learned in training, as values that a file can hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_OF_KERAS = ("_model", "params", "validation_data")  # attributes of every callback
_PLAIN = (bool, int, float, str, type(None))
_MAX_COPIED = 2**20  # bytes; a larger array that a callback was made with is not looked into


@dataclass(frozen=True, eq=False)
class State:
    """An attribute of a callback.

    Attributes:
        plain: Its value as JSON can hold it, with the names of arrays in their place.
        arrays: The arrays in it by name.
    """

    plain: Any
    arrays: dict[str, np.ndarray]

    def equals(self, other: "State | None") -> bool:
        """Return whether both are the same; a large array only if it is the same object."""
        return (
            other is not None
            and self.plain == other.plain
            and all(
                array is before or (array.nbytes <= _MAX_COPIED and np.array_equal(array, before))
                for array, before in zip(self.arrays.values(), other.arrays.values(), strict=True)
            )
        )


def read_state(callback: keras.callbacks.Callback, *, copy: bool = False) -> dict[str, State]:
    """Return the attributes of a callback that are numbers, texts, arrays, or lists of them.

    Others, such as functions and models, it sets itself when training begins.

    Args:
        callback: The callback.
        copy: Whether to copy small arrays, which the callback may change in place.
    """
    found = {}
    own = hasattr(callback, "get_state") and not copy
    for name, value in (callback.get_state() if own else vars(callback)).items():
        arrays: dict[str, np.ndarray] = {}
        try:
            plain = to_plain(value, arrays)
        except TypeError:
            continue
        if name in _OF_KERAS:
            continue
        if copy:
            arrays = {
                key: each.copy() if each.nbytes <= _MAX_COPIED else each
                for key, each in arrays.items()
            }
        found[name] = State(plain, arrays)
    return found


def to_plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as JSON can hold it, with the names of arrays in place of these.

    Args:
        value: Numbers, texts, arrays, and lists, tuples and dicts of them.
        arrays: Gets the arrays.

    Raises:
        TypeError: It holds a value of another type.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcV":
        name = str(len(arrays))
        arrays[name] = value
        return {"array": name}
    if isinstance(value, tuple):
        return {"tuple": [to_plain(each, arrays) for each in value]}
    if isinstance(value, list):
        return [to_plain(each, arrays) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: to_plain(each, arrays) for key, each in value.items()}}
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(f"a checkpoint can't hold {type(value).__name__}")


def from_plain(value: Any, arrays: Mapping[str, np.ndarray], prefix: str = "") -> Any:
    """Return the value that `to_plain` made plain.

    Args:
        value: What it returned.
        arrays: The arrays.
        prefix: What their names begin with there.
    """
    if isinstance(value, list):
        return [from_plain(each, arrays, prefix) for each in value]
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "array":
        return arrays[prefix + content].copy()
    if kind == "tuple":
        return tuple(from_plain(each, arrays, prefix) for each in content)
    return {key: from_plain(each, arrays, prefix) for key, each in content.items()}
