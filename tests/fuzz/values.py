"""Values for arguments: of every type, at the ends of ranges, and hostile ones."""

import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
from PIL import Image


class Hostile:
    """An object that raises whatever is done with it."""

    def __repr__(self) -> str:
        raise ValueError("no text for you")

    __str__ = __repr__


class Recursive:
    """An object whose text has no end."""

    def __repr__(self) -> str:
        return f"{self!r}"


WHOLE, REAL, FLAG, TEXT, PATH = "whole", "real", "flag", "text", "path"
FUNCTION, SEQUENCE, MAPPING, NONE, ARRAY = "function", "sequence", "mapping", "none", "array"
ANY, ITERABLE = "any", "iterable"

_NUMBER, _LIST = (WHOLE, REAL), (SEQUENCE, ARRAY)


def _endless() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


VALUES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "None": (lambda: None, (NONE,)),
    "True": (lambda: True, (FLAG,)),
    "False": (lambda: False, (FLAG,)),
    "0": (lambda: 0, _NUMBER),
    "-1": (lambda: -1, _NUMBER),
    "1": (lambda: 1, _NUMBER),
    "3": (lambda: 3, _NUMBER),
    "2**31": (lambda: 2**31, _NUMBER),
    "2**63-1": (lambda: 2**63 - 1, _NUMBER),
    "-2**63": (lambda: -(2**63), _NUMBER),
    "10**30": (lambda: 10**30, (REAL,)),
    "10**400": (lambda: 10**400, ()),
    "10**5000": (lambda: 10**5000, ()),
    "0.0": (lambda: 0.0, (REAL,)),
    "0.5": (lambda: 0.5, (REAL,)),
    "2.4": (lambda: 2.4, (REAL,)),
    "-0.5": (lambda: -0.5, (REAL,)),
    "1e-320": (lambda: 1e-320, (REAL,)),
    "1e308": (lambda: 1e308, (REAL,)),
    "nan": (lambda: float("nan"), ()),
    "inf": (lambda: float("inf"), (REAL,)),
    "-inf": (lambda: float("-inf"), (REAL,)),
    "complex": (lambda: 1j, ()),
    "np.int64": (lambda: np.int64(2), (*_NUMBER, ARRAY)),
    "np.uint8": (lambda: np.uint8(2), (*_NUMBER, ARRAY)),
    "np.float32": (lambda: np.float32(0.5), (REAL, ARRAY)),
    "np.float64 nan": (lambda: np.float64("nan"), (ARRAY,)),
    "np.bool": (lambda: np.bool_(True), (ARRAY,)),
    "array of no dimension": (lambda: np.array(3), (ARRAY,)),
    "empty text": (lambda: "", (TEXT, PATH)),
    "text": (lambda: "abc", (TEXT, PATH)),
    "digits": (lambda: "12", (TEXT, PATH)),
    "NUL": (lambda: "a\0b", (TEXT, PATH)),
    "newline": (lambda: "a\nb", (TEXT, PATH)),
    "unicode": (lambda: "\u202e\u00e9\U0001f600", (TEXT, PATH)),
    "surrogate": (lambda: "a\udce9", (TEXT, PATH)),
    "long text": (lambda: "x" * 5000, (TEXT, PATH)),
    "parents": (lambda: "../" * 30 + "none", (TEXT, PATH)),
    "regex": (lambda: "(", (TEXT, PATH)),
    "bytes": (lambda: b"abc", ()),
    "bytearray": (lambda: bytearray(b"abc"), ()),
    "Path": (lambda: Path("no/such/file"), (PATH,)),
    "folder": (lambda: Path.cwd(), (PATH,)),
    "empty tuple": (lambda: (), _LIST),
    "empty list": (lambda: [], _LIST),
    "empty dict": (dict, (MAPPING,)),
    "empty set": (set, (ITERABLE,)),
    "list of None": (lambda: [None, None], _LIST),
    "list of texts": (lambda: ["a", "b"], _LIST),
    "pair of numbers": (lambda: (1, 2), _LIST),
    "pair the wrong way round": (lambda: (2, 1), _LIST),
    "pair of nan": (lambda: (float("nan"), float("nan")), _LIST),
    "pair with inf": (lambda: (float("-inf"), float("inf")), _LIST),
    "huge pair": (lambda: (10**9, 10**9), _LIST),
    "triple": (lambda: (1, 2, 3), _LIST),
    "ragged": (lambda: [[1], [1, 2]], _LIST),
    "list in itself": (_endless, _LIST),
    "list of hostile": (lambda: [Hostile()], _LIST),
    "dict of text": (lambda: {"a": 1}, (MAPPING,)),
    "dict of numbers": (lambda: {0: -1.0}, (MAPPING,)),
    "set": (lambda: {1, 2}, (ITERABLE,)),
    "generator": (lambda: (each for each in (1, 2)), (ITERABLE,)),
    "range": (lambda: range(3), _LIST),
    "no rows": (lambda: np.zeros((0, 9, 9, 1), "uint8"), _LIST),
    "one row": (lambda: np.zeros((1, 9, 9, 1), "uint8"), _LIST),
    "float image of nan": (lambda: np.full((2, 9, 9, 1), np.nan, "float32"), _LIST),
    "matrix": (lambda: np.zeros((2, 2)), _LIST),
    "negative matrix": (lambda: np.full((2, 2), -1.0), _LIST),
    "objects": (lambda: np.array([None, "a", 1], object), _LIST),
    "texts array": (lambda: np.array(["a", "b"]), _LIST),
    "complex array": (lambda: np.zeros(3, complex), _LIST),
    "date array": (lambda: np.zeros(3, "datetime64[s]"), _LIST),
    "huge view": (lambda: np.broadcast_to(np.uint8(0), (10**6, 10**4)), _LIST),
    "pair of arrays": (lambda: (np.zeros((3, 9, 9, 1)), np.zeros(3)), _LIST),
    "pair of None": (lambda: (None, None), _LIST),
    "picture": (lambda: Image.new("RGB", (4, 4)), ()),
    "function": (lambda: len, (FUNCTION,)),
    "wrong function": (lambda: lambda: None, (FUNCTION,)),
    "type": (lambda: int, (FUNCTION,)),
    "module": (lambda: types, ()),
    "object": (object, ()),
    "hostile": (Hostile, ()),
    "recursive": (Recursive, ()),
}
"""Each value by name: a function that makes it, and the kinds of types it is a value of."""


class Unknown:
    """Stands for a module that is imported for type checkers only."""

    def __getattr__(self, name: str) -> Any:
        return Any


def is_wrong(label: str, hint: Any) -> bool:
    """Return whether a value is of another type than a hint allows, as far as the kinds tell."""
    allowed = kinds(hint)
    return ANY not in allowed and not allowed & set(VALUES[label][1])


def kinds(hint: Any) -> set[str]:
    """Return the kinds of values that a type allows; a class that is none of them has none."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return set().union(*map(kinds, inner))
    if origin is Literal:
        return {TEXT} if isinstance(inner[0], str) else {WHOLE}
    if origin is None:
        simple = {int: WHOLE, float: REAL, bool: FLAG, str: TEXT, type(None): NONE}
        simple |= {Path: PATH, np.ndarray: ARRAY}
        if not isinstance(hint, type) or hint is Any:
            return {ANY}
        return {simple[hint]} if hint in simple else set()
    if origin is Callable:
        return {FUNCTION}
    if issubclass(origin, Mapping):
        return {MAPPING}
    if issubclass(origin, Iterable):
        if inner == (str,):
            return {SEQUENCE, TEXT}  # each character
        wide = {SEQUENCE} if issubclass(origin, Collection) else {SEQUENCE, ITERABLE}
        return {ANY} if inner[:1] == (Any,) else wide
    return {ANY}


def hints_of(function: Any) -> dict[str, Any]:
    """Return the type hints of a function or a class; `Any` for what is not imported."""
    if isinstance(function, type):
        function = function.__init__
    names: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(function, localns=names)
        except NameError as error:
            names[error.name] = sys.modules.get(error.name, Unknown())
