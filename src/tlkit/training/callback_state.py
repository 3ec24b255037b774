"""The state of a Keras callback during training, as values that a file can store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_OF_KERAS = ("_model", "params", "validation_data")  # attributes of every callback
_PLAIN = (bool, int, float, str, type(None))
_MAX_COPIED = 2**20  # bytes; larger arrays of a callback are neither copied nor compared


@dataclass(frozen=True, eq=False)
class State:
    """An attribute of a callback.

    Attributes:
        plain: Its value in a form that JSON supports, with names in place of arrays.
        arrays: The arrays in the value, by name.
    """

    plain: Any
    arrays: dict[str, np.ndarray]

    def equals(self, other: "State | None") -> bool:
        """Return whether both are equal; a large array is only equal to itself."""
        return (
            other is not None
            and self.plain == other.plain
            and all(
                array is before or (array.nbytes <= _MAX_COPIED and np.array_equal(array, before))
                for array, before in zip(self.arrays.values(), other.arrays.values(), strict=True)
            )
        )


def read_state(callback: keras.callbacks.Callback, *, copy: bool = False) -> dict[str, State]:
    """Return the attributes of a callback that are numbers, strings, arrays, or lists of them.

    Other attributes, such as functions and models, are set by the callback when training begins.

    Args:
        callback: The callback.
        copy: Whether to copy small arrays, since the callback may change them in place.
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
    """Return a value in a form that JSON supports, with names in place of arrays.

    Args:
        value: Numbers, strings, arrays, and lists, tuples and dicts of them.
        arrays: A dict to which the arrays are added.

    Raises:
        TypeError: The value contains another type.
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
    """Return the value that `to_plain` converted.

    Args:
        value: The value that `to_plain` returned.
        arrays: The arrays by name.
        prefix: A prefix of the arrays' names.
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
