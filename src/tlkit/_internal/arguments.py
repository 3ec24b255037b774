"""Checks of arguments; each error says what was expected, what was passed, and the nearest fix."""

import difflib
import math
import numbers
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from tlkit.errors import Argument, ConfigError

Word = TypeVar("Word", bound=str)


def nearest(value: object, allowed: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the closest names, or nothing where none is close."""
    close = similar(value, allowed, 0.5)
    return f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def similar(value: object, allowed: Iterable[str], cutoff: float) -> list[str]:
    """Return up to three names that are at least this similar, from 0 to 1."""
    return difflib.get_close_matches(str(value), list(allowed), n=3, cutoff=cutoff)


def one_of(name: str, value: Any, allowed: Iterable[Word]) -> Word:
    """Return `value` if it is one of the allowed words."""
    words = sorted(allowed)
    for word in words:
        if isinstance(value, str) and value == word:
            return word
    raise ConfigError(
        Argument(name), f" must be one of {words}, got {value!r}.{nearest(value, words)}"
    )


def at_least(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int where it is a whole number of at least `minimum`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if whole and value >= minimum:
        return int(value)
    raise ConfigError(
        Argument(name), f" must be a whole number of at least {minimum}, got {value!r}."
    )


def positive(name: str, value: Any) -> float:
    """Return `value` as a float where it is finite and above zero."""
    if _is_number(value) and value > 0:
        return float(value)
    raise ConfigError(Argument(name), f" must be a number above 0, got {value!r}.")


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float where 0 <= value < 1."""
    if _is_number(value) and 0 <= value < 1:
        return float(value)
    raise ConfigError(
        Argument(name), f" must be a number of at least 0 and below 1, got {value!r}."
    )


def flag(name: str, value: Any) -> bool:
    """Return `value` where it is True or False."""
    if isinstance(value, bool):
        return value
    raise ConfigError(Argument(name), f" must be True or False, got {value!r}.")


def interval(name: str, value: Any) -> tuple[float, float]:
    """Return `value` as (low, high) where both are finite and low < high."""
    try:
        low, high = value
    except (TypeError, ValueError):
        low = high = None
    if _is_number(low) and _is_number(high) and low < high:
        return float(low), float(high)
    raise ConfigError(
        Argument(name), f" must be a pair (low, high) of numbers with low < high, got {value!r}."
    )


def size(name: str, value: Any) -> tuple[int, int]:
    """Return `value`, a whole number or a pair of them, as (height, width)."""
    if isinstance(value, numbers.Integral):
        value = (value, value)
    try:
        height, width = value
    except (TypeError, ValueError):
        raise ConfigError(
            Argument(name), f" must be a whole number or a pair (height, width), got {value!r}."
        ) from None
    return at_least(f"{name} height", height, 1), at_least(f"{name} width", width, 1)


def parse_size(name: str, value: Any) -> int | tuple[int, int]:
    """Return one number for both sides of a square, otherwise (height, width).

    Examples:
        >>> parse_size("image_size", "160"), parse_size("image_size", "120x200")
        (160, (120, 200))
    """
    sides = value.lower().split("x") if isinstance(value, str) else value
    if isinstance(value, str):
        if not all(side.strip().isdecimal() for side in sides):
            raise ConfigError(
                Argument(name),
                f" must be pixels, such as 160, or height x width, such as 120x200, got {value!r}.",
            )
        sides = [int(side) for side in sides]
    if isinstance(sides, list | tuple) and len(sides) == 1:
        return parse_size(name, sides[0])
    height, width = size(name, sides)
    return height if height == width else (height, width)


def path(name: str, value: Any) -> Path:
    """Return `value` as a Path where it is text that is not empty, or a path."""
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str) and str(value):
        return Path(value)
    raise ConfigError(Argument(name), f" must be a path, got {value!r}.")


def _is_number(value: Any) -> bool:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(float(value))
