"""Checks of arguments; each error says what was expected, what was passed, and the nearest fix."""

import difflib
import errno
import math
import numbers
import os
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any, TypeVar

from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError

_MAX_SIDE = 32_768  # pixels: a square RGB image of this size takes 3 GB

Word = TypeVar("Word", bound=str)


def nearest(value: object, allowed: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the closest allowed words, or "" if no word is close."""
    close = similar(value, allowed, 0.5) if isinstance(value, str) else []
    return f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def similar(value: object, allowed: Iterable[str], cutoff: float) -> list[str]:
    """Return up to three allowed words whose similarity to the value is at least the cutoff.

    Args:
        value: The value that a caller passed.
        allowed: The allowed words.
        cutoff: The lowest similarity, from 0 (nothing in common) to 1 (equal).
    """
    return difflib.get_close_matches(str(value), list(allowed), n=3, cutoff=cutoff)


def one_of(name: str, value: Any, allowed: Iterable[Word]) -> Word:
    """Return `value` if it is one of the allowed words."""
    words = sorted(allowed)
    for word in words:
        if isinstance(value, str) and value == word:
            return word
    raise ConfigError(
        Argument(name), f" must be one of {words}, got {show(value)}.{nearest(value, words)}"
    )


def at_least(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int; raise a ConfigError unless it is whole and at least `minimum`."""
    if _is_whole(value) and minimum <= value < 2**63:
        return int(value)
    raise ConfigError(
        Argument(name), f" must be a whole number of at least {minimum}, got {show(value)}."
    )


def seed(name: str, value: Any) -> int:
    """Return `value` as an int; raise a ConfigError unless it is a seed of Keras (32 bits)."""
    if at_least(name, value, 0) < 2**32:
        return int(value)
    raise ConfigError(
        Argument(name), f" must be a whole number from 0 to {2**32 - 1}, got {show(value)}."
    )


def positive(name: str, value: Any) -> float:
    """Return `value` as a float; raise a ConfigError unless it is finite and above 0."""
    if _is_number(value) and value > 0:
        return float(value)
    raise ConfigError(Argument(name), f" must be a number above 0, got {show(value)}.")


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float; raise a ConfigError unless 0 <= value < 1."""
    if _is_number(value) and 0 <= value < 1:
        return float(value)
    raise ConfigError(
        Argument(name), f" must be a number of at least 0 and below 1, got {show(value)}."
    )


def flag(name: str, value: Any) -> bool:
    """Return `value`; raise a ConfigError unless it is True or False."""
    if isinstance(value, bool):
        return value
    raise ConfigError(Argument(name), f" must be True or False, got {show(value)}.")


def interval(name: str, value: Any) -> tuple[float, float]:
    """Return `value` as (low, high); raise a ConfigError unless both are finite and low < high."""
    low: Any
    high: Any
    low, high = _unpack(value) or (None, None)
    if _is_number(low) and _is_number(high) and low < high:
        return float(low), float(high)
    raise ConfigError(
        Argument(name),
        f" must be a pair (low, high) of numbers with low < high, got {show(value)}.",
    )


def size(name: str, value: Any) -> tuple[int, int]:
    """Return `value`, a whole number or a pair of them, as (height, width) in pixels."""
    sides = (value, value) if isinstance(value, numbers.Integral) else _unpack(value)
    if sides is None:
        raise ConfigError(
            Argument(name), f" must be a whole number or a pair (height, width), got {show(value)}."
        )
    for side, each in zip(("height", "width"), sides, strict=True):
        if not _is_whole(each) or each < 1:
            raise ConfigError(
                Argument(name),
                f" must have a {side} of whole pixels, at least 1, got {show(value)}.",
            )
    height, width = (int(each) for each in sides)
    if max(height, width) > _MAX_SIDE:
        raise ConfigError(
            Argument(name), f" must be at most {_MAX_SIDE:,} pixels a side, got {show(value)}."
        )
    return height, width


def parse_size(name: str, value: Any) -> int | tuple[int, int]:
    """Return a size in pixels: one number for a square, otherwise (height, width).

    Examples:
        >>> parse_size("image_size", "160"), parse_size("image_size", "120x200")
        (160, (120, 200))
    """
    sides = value.lower().split("x") if isinstance(value, str) else value
    if isinstance(value, str):
        if not all(side.strip().isdecimal() for side in sides):
            raise ConfigError(
                Argument(name),
                " must be pixels, such as 160, or height x width, such as 120x200, got "
                f"{show(value)}.",
            )
        sides = [int(side) for side in sides]
    if isinstance(sides, list | tuple) and len(sides) == 1:
        if isinstance(sides[0], str):
            return parse_size(name, sides[0])
        sides = sides[0]
    height, width = size(name, sides)
    return height if height == width else (height, width)


def path(name: str, value: Any) -> Path:
    """Return `value` as a Path; raise a ConfigError unless it is a path or a non-empty string."""
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str) and str(value):
        check_path_text(name, value)
        return Path(value)
    raise ConfigError(Argument(name), f" must be a path, got {show(value)}.")


def check_path_text(name: str, value: Any) -> None:
    """Check that the system accepts a path; the file need not exist.

    Raises:
        ConfigError: The path is too long, or has characters that no path can have.
    """
    try:
        Path(value).stat()
    except ValueError:
        reason = "it has characters that no path has"
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            return
        reason = "it is too long"
    else:
        return
    raise ConfigError(Argument(name), f" must be a path, got {show(value)}: {reason}.")


def _unpack(value: Any) -> tuple[Any, Any] | None:
    """Return the two values of a pair; None if it is something else."""
    if isinstance(value, str | bytes | Mapping | Set) or not hasattr(value, "__len__"):
        return None
    try:
        first, second = value
    except Exception:  # the user's class may raise anything
        return None
    return first, second


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
