"""Settings as text: equal for equal settings, also in another process; different for others."""

import importlib.util
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


class _Slots:
    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


def _teach(value: float) -> Any:
    teacher = keras.Sequential(
        [keras.Input((1,), name="image"), keras.layers.Dense(1, name="last")], name="one"
    )
    teacher.set_weights([np.full((1, 1), value), np.zeros(1)])
    return lambda true, predicted: teacher(predicted) - true


def _use_module(constant: int, folder: Path, *, by_name: bool) -> Any:
    """Return a function that uses another module of the user."""
    name = "rules_of_a_user"
    (folder / f"{name}.py").write_text(f"def choose(layers): return layers[:{constant}]\n")
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = {"__name__": "mine"} | ({"choose": module.choose} if by_name else {"rules": module})
    call = "choose(x)" if by_name else "rules.choose(x)"
    exec(f"def select(x): return {call}", names)
    return names["select"]


@pytest.mark.parametrize("by_name", [True, False])
def test_a_function_of_another_module_of_the_user_counts(tmp_path: Path, by_name: bool) -> None:
    texts = [describe_value(_use_module(count, tmp_path, by_name=by_name)) for count in (1, 1, 22)]
    assert texts[0] == texts[1] != texts[2]


def test_an_address_in_memory_is_not_in_the_text() -> None:
    assert " at 0x" not in describe_value([np.random.default_rng(0), [].append, _Slots(1)])


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
        (_Slots(1), _Slots(2)),
        (_teach(1.0), _teach(2.0)),
        (_Rule, _Slots),
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
        (_Slots(1), _Slots(1)),
        (_teach(1.0), _teach(1.0)),
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
