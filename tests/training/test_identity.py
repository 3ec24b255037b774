"""Settings as text: equal for equal settings, also in another process; different for others."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tlkit import freezing
from tlkit.training.identity import describe_value
from tlkit.training.phase import Phase

CODE = """
from tlkit import freezing
from tlkit.training.identity import describe_value
from tlkit.training.phase import Phase
print(describe_value(Phase(freeze=freezing.all_but(freezing.matching("block_1")), optimizer="sgd")))
"""


def _scale(images: Any, factor: float = 2.0) -> Any:
    return images * factor


def _make(text: str) -> Any:
    return lambda layer: layer.name in {"a", "b", text}


class _Rule:
    def __init__(self, count: int) -> None:
        self.count, self.owner = count, self

    def select(self, layers: Any) -> Any:
        return layers[: self.count]


def _with_default(count: int, by_name: int = 0) -> Any:
    def select(layers: Any, last: int = count, *, step: int = by_name) -> Any:
        return layers[:last:step]

    return select


def _load(text: str) -> Any:
    """Return the function `select` of a user's module."""
    names: dict[str, Any] = {"__name__": "mine"}
    exec(text, names)
    return names["select"]


USER = "COUNT = {}\ndef check(x): return x > {}\ndef select(x): return x[:COUNT] if check(x) else x"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (freezing.first(3), freezing.first(4)),
        (_load(USER.format(1, 2)), _load(USER.format(3, 2))),
        (_load(USER.format(1, 2)), _load(USER.format(1, 3))),
        (freezing.first(3), freezing.last(3)),
        (freezing.all_but(freezing.first(3)), freezing.all_but(freezing.first(4))),
        (lambda layer: layer.name == "a", lambda layer: layer.name == "b"),
        (partial(_scale, factor=2.0), partial(_scale, factor=3.0)),
        (Phase(learning_rate=1e-3), Phase(learning_rate=1e-4)),
        (keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2)),
        (np.array([1, 2]), np.array([1, 3])),
        ({"a": [1, 2]}, {"a": [1, (2, 3)]}),
        (None, "None"),
        (1, "1"),
        (b"a", b"b"),
        ({"a", "b"}, {"a", "c"}),
        (np.float32(0.1), np.float32(0.2)),
        (np.zeros(3, "int32"), np.zeros(3, "int64")),
        (Path("a"), Path("b")),
        (_Rule(1), _Rule(2)),
        (_Rule(1).select, _Rule(2).select),
        (_with_default(1), _with_default(2)),
        (_with_default(1, by_name=3), _with_default(1, by_name=4)),
        (keras.Variable([1.0]), keras.Variable([2.0])),
    ],
)
def test_other_settings_have_other_text(one: Any, other: Any) -> None:
    assert describe_value(one) == describe_value(one)
    assert describe_value(one) != describe_value(other)


def test_a_function_that_captures_equal_values_is_the_same() -> None:
    assert describe_value(_make("c")) == describe_value(_make("c"))
    assert describe_value(_make("c")) != describe_value(_make("d"))


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a", "b", "c", "d"}, {"d", "c", "b", "a"}),
        ([1, 2], (1, 2)),
        (_Rule(1), _Rule(1)),
        (_load(USER.format(1, 2)), _load(USER.format(1, 2))),
    ],
)
def test_equal_settings_have_equal_text(one: Any, same: Any) -> None:
    assert describe_value(one) == describe_value(same)


def test_a_function_that_is_not_complete_yet_is_described() -> None:
    def use() -> int:
        return later()

    text = describe_value(use)

    def later() -> int:
        return 1

    assert text != describe_value(use)


def test_a_function_that_calls_itself_is_described() -> None:
    def count(left: int) -> int:
        return 0 if left == 0 else 1 + count(left - 1)

    assert describe_value(count).startswith("test_a_function_that_calls_itself")


def test_the_text_is_the_same_in_another_process() -> None:
    phase = Phase(freeze=freezing.all_but(freezing.matching("block_1")), optimizer="sgd")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == describe_value(phase)
