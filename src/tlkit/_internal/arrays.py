"""Checks of arguments that are arrays of numbers, or indices."""

from typing import Any

import numpy as np

from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DataError


def check_numbers(name: str, value: Any, *axes: int) -> np.ndarray:
    """Return `value` as an array of numbers.

    Args:
        name: The argument's name, for the error.
        value: The value to check.
        axes: The numbers of axes that the array may have.

    Raises:
        DataError: The value is not an array of numbers, has another number of axes, or is empty.
    """
    try:
        found = np.asarray(value)
    except Exception:  # the user's class may raise anything
        found = np.empty(0, object)
    if found.dtype.kind in "biuf" and found.ndim in axes and found.size:
        return found
    many = " or ".join(map(str, axes))
    raise DataError(
        Argument(name),
        f" must be an array of numbers with {many} {'axis' if many == '1' else 'axes'}, got "
        f"{show(value)}.",
    )


def take(name: str, index: Any, count: int) -> np.ndarray:
    """Return the positions, from 0 to `count` - 1, that an index such as a slice selects.

    Raises:
        ConfigError: It is not an index of one axis, or is out of range.
    """
    try:
        taken = np.asarray(np.arange(count)[index])
    except (IndexError, MemoryError, TypeError, ValueError):
        taken = np.empty(())
    if taken.ndim == 1:
        return taken
    raise ConfigError(
        Argument(name), f" must be a slice, a mask or indices below {count:,}, got {show(index)}."
    )
