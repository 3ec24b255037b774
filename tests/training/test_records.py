import math

import pytest
from matplotlib import pyplot

from tlkit.training import PhaseRun, Run
from tlkit.training.verification import Movement


@pytest.fixture
def run() -> Run:
    rest = {"seconds": 1.5, "best_epoch": 1, "movement": Movement(moved=1, untouched=1)}
    head = PhaseRun(name="head", history={"loss": [3.0], "penalty": [0.1]}, **rest)
    tail = PhaseRun(
        name="fine_tune", history={"loss": [2.0, 1.0], "val_accuracy": [0.5, 0.7]}, **rest
    )
    return Run(phases=(head, tail))


def test_the_history_is_a_list_for_each_metric_over_all_phases(run: Run) -> None:
    history = run.history
    assert history["epoch"] == [1, 2, 3]
    assert history["phase"] == ["head", "fine_tune", "fine_tune"]
    assert history["loss"] == [3.0, 2.0, 1.0]
    assert math.isnan(history["val_accuracy"][0])
    assert history["val_accuracy"][1:] == [0.5, 0.7]
    assert {len(values) for values in history.values()} == {3}
    assert [phase.num_epochs for phase in run.phases] == [1, 2]
    assert run.seconds == 3.0


def test_the_history_plots_as_that_of_keras_does(run: Run) -> None:
    [line] = pyplot.plot(run.history["val_accuracy"])
    assert line.get_ydata().tolist()[1:] == [0.5, 0.7]
    pyplot.close("all")


def test_the_history_is_a_table_in_pandas(run: Run) -> None:
    pandas = pytest.importorskip("pandas")
    table = run.to_pandas()
    assert table.columns.tolist() == ["epoch", "phase", "loss", "penalty", "val_accuracy"]
    assert table.groupby("phase")["loss"].min().to_dict() == {"fine_tune": 1.0, "head": 3.0}
    assert isinstance(table, pandas.DataFrame)
