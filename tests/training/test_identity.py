"""Settings as text: equal for equal settings, also in another process; different for others."""

import subprocess
import sys
from functools import partial
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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (freezing.first(3), freezing.first(4)),
        (freezing.first(3), freezing.last(3)),
        (freezing.all_but(freezing.first(3)), freezing.all_but(freezing.first(4))),
        (lambda layer: layer.name == "a", lambda layer: layer.name == "b"),
        (partial(_scale, factor=2.0), partial(_scale, factor=3.0)),
        (Phase(learning_rate=1e-3), Phase(learning_rate=1e-4)),
        (keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2)),
        (np.array([1, 2]), np.array([1, 3])),
        ({"a": [1, 2]}, {"a": [1, (2, 3)]}),
    ],
)
def test_other_settings_have_other_text(one: Any, other: Any) -> None:
    assert describe_value(one) == describe_value(one)
    assert describe_value(one) != describe_value(other)


def test_a_function_that_captures_equal_values_is_the_same() -> None:
    assert describe_value(_make("c")) == describe_value(_make("c"))
    assert describe_value(_make("c")) != describe_value(_make("d"))


def test_a_function_that_calls_itself_is_described() -> None:
    def count(left: int) -> int:
        return 0 if left == 0 else 1 + count(left - 1)

    assert describe_value(count).startswith("test_a_function_that_calls_itself")


def test_the_text_is_the_same_in_another_process() -> None:
    phase = Phase(freeze=freezing.all_but(freezing.matching("block_1")), optimizer="sgd")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == describe_value(phase)
