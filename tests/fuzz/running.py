"""Run one call with one wrong argument, and say what is wrong with how it ends."""

import contextlib
import importlib
import inspect
import io
import re
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.calls import (
    BLOCKING,
    ENDLESS,
    FUNCTIONS,
    HEAVY,
    HINTS,
    KERAS_LAYERS,
    METHODS,
    REFUSED,
    SLOW,
)
from tests.fuzz.values import FUNCTION, VALUES, hints_of, is_wrong, kinds
from tests.fuzz.world import World

from tlkit.errors import Argument, TlkitError

SECONDS = 20
_HUGE = {"2**31", "2**63-1", "10**30", "1e308", "inf"}


@dataclass(frozen=True)
class Case:
    """A call by name, and the value of one of its arguments."""

    call: str
    parameter: str
    value: str


class HangError(BaseException):
    """A call took too long."""


def cases() -> list[Case]:
    """Return every case: each argument of each call with each value."""
    found = []
    for call in (*FUNCTIONS, *METHODS):
        function = resolve(call)
        hints = hints_of(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if name == "self" or parameter.kind in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                continue
            for value in VALUES:
                if value == "list in itself" and call in KERAS_LAYERS:
                    continue  # Keras can't walk through it
                blocks = call in BLOCKING and not is_wrong(value, hints.get(name, Any))
                if not blocks and not (name in ENDLESS and value in _HUGE):
                    found.append(Case(call, name, value))
    return found


def resolve(call: str) -> Callable[..., Any]:
    """Return the function, class or method of a call's name."""
    if call in METHODS:
        owner, _, method = call.rpartition(".")
        return getattr(classes()[owner], method)
    module, _, name = f"tlkit.{call}".rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:  # a class method
        return getattr(resolve(call.rpartition(".")[0]), name)


def classes() -> dict[str, type]:
    """Return the public classes by name."""
    from tests.test_public import public_callables

    found = public_callables().values()
    return {each.__name__: each for each in found if isinstance(each, type)}


def is_quick(case: Case) -> bool:
    """Return whether a case takes no seconds: what is wrong is refused at the start."""
    hint = hints_of(resolve(case.call)).get(case.parameter, Any)
    return case.call not in HEAVY or is_wrong(case.value, hint)


def run_case(world: World, case: Case) -> str | None:
    """Return what is wrong with how a call ends; None if it succeeds, or names the argument."""
    function = resolve(case.call)
    if case.call in METHODS:
        owner, settings = METHODS[case.call]
        function, arguments = getattr(owner(world), case.call.rpartition(".")[2]), settings(world)
    else:
        arguments = FUNCTIONS[case.call](world)
    arguments = {**arguments, case.parameter: VALUES[case.value][0]()}
    hint = hints_of(resolve(case.call)).get(case.parameter, Any)
    hint = HINTS.get((case.call, case.parameter), hint)
    before = leftovers(world)
    fault = call(
        lambda: function(**arguments),
        named=(case.parameter, *_paths(arguments[case.parameter])),
        seconds=60 if case.call in SLOW else SECONDS,
        must_fail=is_wrong(case.value, hint),
        of_user=FUNCTION in kinds(hint) and callable(arguments[case.parameter]),
        is_refused=case.call in REFUSED,
    )
    left = leftovers(world) - before
    return fault or (f"left {sorted(left)}" if left else None)


def call(
    function: Callable[[], Any],
    *,
    named: tuple[str, ...],
    must_fail: bool = False,
    of_user: bool = False,
    is_refused: bool = False,
    seconds: int = SECONDS,
) -> str | None:
    """Return what is wrong with how a function ends.

    Args:
        function: It is called without arguments.
        named: What the message of an error may name: the argument, or the file.
        must_fail: Whether it must not succeed.
        of_user: Whether an argument is a function: what that raises is the user's.
        is_refused: Whether another argument is refused too.
        seconds: How long it may take.
    """
    try:
        with limited(seconds), quiet():
            function()
    except TlkitError as error:
        return None if is_refused or of_user else judge(error, named)
    except HangError:
        return f"takes over {seconds} s"
    except Exception as error:  # the point of it
        if of_user:
            return None
        where = traceback.extract_tb(error.__traceback__)
        frames = [f"{Path(f.filename).name}:{f.lineno}" for f in where if "tlkit" in f.filename]
        return f"{type(error).__name__}: {_text(error)[:150]} ({' '.join(frames[-3:])})"
    return "accepted" if must_fail else None


_ALIASES = {
    "class_names": ("class", "classes"),
    "multi_label": ("labels",),
    "input_shape": ("in shape", "of shape"),
    "text": ("backbones",),
    "backbone": ("backbones",),
    "name": ("engine", "recipe"),
    "top": ("count",),
    "options": ("backbone_options",),
    **{f"{name}_column": ("column",) for name in ("group", "label", "path", "split")},
    **dict.fromkeys(("group", "image", "label"), ("column",)),
    **dict.fromkeys(("test", "validation"), ("share",)),
    "values": ("experiment",),
}
"""What a message may say for an argument."""


def judge(error: TlkitError, named: tuple[str, ...]) -> str | None:
    """Return what is wrong with an error's message."""
    text = str(error)
    if len(text) > 1500:
        return f"message of {len(text)} characters: {text[:150]}"
    named = (*named, *(each for name in named for each in _ALIASES.get(name, ())))
    own = {each.name.split()[0] for each in error.args if isinstance(each, Argument)}
    if own & set(named) or any(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in named
    ):
        return None
    return f"does not name {' or '.join(named)}: {text[:200]}"


def _paths(value: Any) -> tuple[str, ...]:
    """Return what a message may say in place of the argument: the file, or one in the folder."""
    several = isinstance(value, list) or getattr(value, "ndim", 0)
    texts = [
        str(each)
        for each in (value[:100] if several else [value])
        if isinstance(each, str | Path) and str(each)
    ]
    if isinstance(value, Path) and value.is_dir():
        texts += [path.name for path in value.iterdir()]
    return (*texts, *(repr(each)[1:-1] for each in texts), *map(ascii, texts))


def leftovers(world: World) -> set[str]:
    """Return the temporary files in the folders that calls write to."""
    inside = (*world.folder.rglob(".writing-*"), *world.folder.rglob(".saving-*"))
    return {str(path) for path in (*inside, *Path(tempfile.gettempdir()).iterdir())}


def _text(error: Exception) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:
        return "(an error without a text)"


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Stop the block after some seconds."""

    def stop(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Print nothing, and warn of nothing."""
    out, err = io.StringIO(), io.StringIO()
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with warnings.catch_warnings(), streams[0], streams[1]:
        warnings.simplefilter("ignore")
        yield
