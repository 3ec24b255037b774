"""Checks of arguments that are arrays of numbers, or indices."""

from typing import Any

import numpy as np

from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DataError


def check_numbers(name: str, value: Any, *axes: int) -> np.ndarray:
    """Return `value` as an array of numbers that has one of these numbers of axes, and values."""
    try:
        found = np.asarray(value)
    except Exception:  # code of the user's
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
    """Return the numbers that an index, such as a slice, takes from `count` values."""
    try:
        taken = np.asarray(np.arange(count)[index])
    except (IndexError, MemoryError, TypeError, ValueError):
        taken = np.empty(())
    if taken.ndim == 1:
        return taken
    raise ConfigError(
        Argument(name), f" must be a slice, a mask or indices below {count:,}, got {show(index)}."
    )
