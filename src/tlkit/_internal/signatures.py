"""Check the arguments of public functions against their type hints."""

import functools
import inspect
import math
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from tlkit._internal import arguments
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, TlkitError

Door = TypeVar("Door", bound=Callable[..., Any])

_LARGEST_INT = 2**63 - 1
_APART = {"images", "labels", "x", "y"}  # as Keras and others name what `data` is here
_WORDS: dict[Any, str] = {
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    str: "a string",
    type(None): "None",
}


def check_arguments(door: Door) -> Door:
    """Check each argument of a function, or of a dataclass, against its type hint.

    The function itself checks what a hint can't express, such as a range. Hints of arbitrary data
    (`Any`, `Iterable[Any]`) accept everything. A list is accepted for a tuple, and a NumPy number
    for a Python number.

    Args:
        door: A public function, or a class, whose `__init__` is then checked.

    Raises:
        ConfigError: An argument has another type; raised when the function is called.

    Examples:
        >>> @check_arguments
        ... def repeat(text: str, count: int = 2) -> str:
        ...     return text * count
        >>> repeat("a")
        'aa'
        >>> repeat("a", count=2.5)
        Traceback (most recent call last):
            ...
        tlkit.errors.ConfigError: `count` must be a whole number, got 2.5.
    """
    function: Any = door.__init__ if isinstance(door, type) else door  # type: ignore[misc]
    signature = inspect.signature(function)

    @functools.wraps(function)
    def start_checked(*args: Any, **kwargs: Any) -> Any:
        _refuse_labels_apart(function, signature, args, kwargs)
        _check_all(function, signature, signature.bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)

    # A class checks first itself, since its own errors are more precise; creating it has no effect.
    @functools.wraps(function)
    def end_checked(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs).arguments
        try:
            function(*args, **kwargs)
        except TlkitError:
            raise
        except Exception:
            _check_all(function, signature, given)
            raise
        _check_all(function, signature, given)

    if not isinstance(door, type):
        return typing.cast("Door", start_checked)
    door.__init__ = end_checked  # type: ignore[misc]
    return door


def _refuse_labels_apart(
    function: Callable[..., Any],
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> None:
    """Refuse images and labels as two arguments, as Keras takes them, where `data` is one."""
    names = list(signature.parameters)
    at = names.index("data") if "data" in names else len(args)
    apart = [*args[at : at + 2], *(kwargs[name] for name in _APART - {*names} if name in kwargs)]
    if len(apart) < 2 or not all(isinstance(each, list) or _has_rows(each) for each in apart):
        return
    form, wanted = "pair", "(images, labels)"
    if getattr(_hints(function).get("data"), "__name__", "") == "ImageDataset":
        form = "ImageDataset"
        wanted = "tlkit.sources.from_arrays(images, labels, class_names=...)"
    words = [*(name for name in names[:at] if name != "self"), wanted]
    raise ConfigError(
        Argument("data"),
        f" must be images and labels as one {form}, got two arguments. Write "
        f"{function.__name__}({', '.join(words)}).",
    )


def _check_all(
    function: Callable[..., Any], signature: inspect.Signature, given: Mapping[str, Any]
) -> None:
    hints = _hints(function)
    for name, value in given.items():
        parameter = signature.parameters[name]
        single = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if name in hints and single and value is not parameter.default:
            check(name, value, hints[name])


def check(name: str, value: Any, hint: Any) -> None:
    """Check one value against a type hint.

    Raises:
        ConfigError: It has another type, or is a seed outside Keras' range.
    """
    if not _matches(value, hint):
        text = f" must be {_describe(hint)}, got {show(value)}."
        raise ConfigError(Argument(name), text + _nearest(value, hint))
    if isinstance(value, str | os.PathLike) and Path in get_args(hint):
        arguments.check_path_text(name, value)
    if name == "seed" and value is not None:
        arguments.seed(name, value)


def _nearest(value: Any, hint: Any) -> str:
    """Return " Did you mean ...?" for the first value that is not among a hint's choices."""
    if get_origin(hint) is Literal:
        return arguments.nearest(value, map(str, get_args(hint)))
    inner = get_args(hint)
    if isinstance(value, list | tuple) and inner:
        wrong = next((each for each in value if not _matches(each, inner[0])), None)
        return _nearest(wrong, inner[0])
    return next(filter(None, (_nearest(value, each) for each in inner)), "")


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the hints of a function; a name imported only for type checkers counts as `Any`."""
    known: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(function, localns=known)
        except NameError as error:
            missing = str(error.name)
            known[missing] = sys.modules.get(missing) or _Unknown()


class _Unknown:
    """Stands for a module that is not imported: any value matches its classes."""

    def __getattr__(self, name: str) -> Any:
        return Any


def _matches(value: Any, hint: Any) -> bool:
    """Return whether a value matches a type hint."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        data = any(get_args(each)[:1] == (Any,) for each in inner)  # images in any form
        return data or any(_matches(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str | int) and value in inner and not isinstance(value, bool)
    if origin is Callable:
        return callable(value)
    if isinstance(origin, type):
        return _matches_generic(value, origin, inner)
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return _is_whole(value)
    if hint is float:
        return _is_real(value)
    if isinstance(hint, type) and issubclass(hint, os.PathLike):
        return isinstance(value, str | os.PathLike)
    if isinstance(hint, type) and _is_array_type(hint):
        return _is_listed(value) or hasattr(value, "__array__")
    return not isinstance(hint, type) or hint is Any or _is_instance(value, hint)


def _matches_generic(value: Any, origin: type, inner: tuple[Any, ...]) -> bool:
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return False
        return not inner or all(_matches(each, inner[1]) for each in value.values())
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return (
            _is_listed(value)
            and len(value) == len(inner)
            and all(_matches(each, part) for each, part in zip(value, inner, strict=True))
        )
    if issubclass(origin, Iterable) and not issubclass(origin, str):
        if not issubclass(origin, Collection):
            return _is_listed(value) or isinstance(value, Iterator) or _is_dataset(value)
        if isinstance(value, str):
            return inner == (str,)  # each character
        return _is_listed(value) and (not inner or _are_all(value, inner[0]))
    return _is_instance(value, origin)


def _are_all(values: Any, hint: Any) -> bool:
    """Return whether all values match a hint; in an array of numbers, the first is enough."""
    if getattr(getattr(values, "dtype", None), "kind", "O") != "O":
        return len(values) > 0 and _matches(values[0], hint)
    return {type(each) for each in values} <= {hint} or all(_matches(each, hint) for each in values)


def _is_whole(value: Any) -> bool:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and abs(int(value)) <= _LARGEST_INT


def _is_real(value: Any) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def _is_listed(value: Any) -> bool:
    """Return whether a value is an ordered collection, such as a list or an array."""
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping | set | frozenset):
        return False
    return isinstance(value, Sequence) or (
        hasattr(value, "__iter__") and hasattr(value, "__len__") and getattr(value, "ndim", 1) > 0
    )


def _has_rows(value: Any) -> bool:
    """Return whether a value is an array or a tensor with an axis, or images read when needed."""
    return hasattr(value, "shape") and getattr(value, "ndim", 1) > 0 and hasattr(value, "__len__")


def _is_dataset(value: Any) -> bool:
    """Return whether a value can be iterated, or indexed by number like Keras' `PyDataset`."""
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        return False
    by_number = hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    return by_number and getattr(value, "ndim", 1) > 0


def _is_array_type(hint: type) -> bool:
    return (hint.__module__, hint.__name__) == ("numpy", "ndarray")


def _is_instance(value: Any, hint: type) -> bool:
    try:
        return isinstance(value, hint)
    except TypeError:  # a protocol that can't be checked
        return True


def _describe(hint: Any) -> str:
    """Return in words which values a type hint accepts."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        implied = (type(None), str) if Path in inner else (type(None),)
        words = [_describe(each) for each in inner if each not in implied]
        return " or ".join(dict.fromkeys(words))
    if origin is Literal:
        return f"one of {sorted(inner, key=str)}"
    if origin is Callable:
        return "a function"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a dict"
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"a sequence of {len(inner)}: {', '.join(_describe(each) for each in inner)}"
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return f"a sequence of {_plural(inner[0])}" if inner else "a sequence"
    if hint in _WORDS:
        return _WORDS[hint]
    if isinstance(hint, type) and issubclass(hint, os.PathLike):
        return "a path"
    if isinstance(hint, type) and _is_array_type(hint):
        return "an array"
    name = getattr(hint, "__name__", str(hint))
    such = ", such as split.train" if name == "ImageDataset" else ""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}{such}"


def _plural(hint: Any) -> str:
    name = _WORDS.get(hint, "") if isinstance(hint, type) else ""
    return f"{name.removeprefix('a ')}s" if name.startswith("a ") else _describe(hint)
