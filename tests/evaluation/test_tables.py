import io

import numpy as np
import pytest
import rich.console

from tlkit.evaluation.metrics import Evaluation, score
from tlkit.evaluation.probing.result import Probe, Reading
from tlkit.evaluation.tables import show


def _evaluation() -> Evaluation:
    sure = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    return score(np.array([0, 1, 1]), sure, class_names=["cat", "dog", "owl"])


def _probe() -> Probe:
    first, second = (
        Reading(layer=name, pooling=4, size=8, work=2_000_000, weights=10, accuracy=accuracy)
        for name, accuracy in (("stem", 0.5), ("block", 0.9))
    )
    return Probe(
        readings=(first, second),
        solver="ridge",
        fitted=100,
        scored=100,
        engine="keras",
        seconds=1.0,
        together=(first, second),
        together_accuracy=0.95,
    )


def _shown(value: object, *, terminal: bool) -> str:
    file = io.StringIO()
    show(rich.console.Console(file=file, force_terminal=terminal, width=100, no_color=True), value)
    return file.getvalue()


@pytest.mark.parametrize("value", [_evaluation(), _probe(), "a line"])
def test_where_there_is_no_terminal_the_lines_are_those_of_print(value: object) -> None:
    assert _shown(value, terminal=False) == f"{value}\n"


@pytest.mark.parametrize("value", [_evaluation(), _probe()])
def test_a_terminal_is_shown_a_table_with_the_same_words(value: object) -> None:
    shown = _shown(value, terminal=True)
    assert "┃" in shown
    missing = {word.lower() for word in str(value).split()} - {
        word.lower() for word in shown.replace("\x1b[1m", "").replace("\x1b[0m", "").split()
    }
    assert missing == set()
