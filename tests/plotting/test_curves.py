import io

from tests.plotting.test_charts import make_run

import tlkit
from tlkit.plotting import curves
from tlkit.training.verification import Movement


def test_curves_cover_both_phases_and_mark_the_change() -> None:
    run = make_run()
    loss, accuracy = curves.learning_curves(run).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert drawn["training"] == [[1, 0.9], [2, 0.5], [3, 0.4], [4, 0.3], [5, 0.2]]
    assert accuracy.get_ylabel() == "accuracy"
    assert [line.get_xdata()[0] for line in loss.lines if line.get_linestyle() == ":"] == [3.5]
    assert [text.get_text() for text in loss.texts] == ["head", "fine_tune"]
    loss.figure.savefig(io.BytesIO())
    for text in loss.texts:  # the frame does not cover an underscore
        assert text.get_window_extent().y0 > loss.get_window_extent().y1


def test_a_solved_head_is_a_line_and_not_an_epoch() -> None:
    movement = Movement(moved=1, untouched=1)
    head, tuned = (
        tlkit.training.PhaseRun(
            name=name, history=history, seconds=1, best_epoch=0, movement=movement
        )
        for name, history in [
            ("head", {"loss": [0.1], "accuracy": [0.9], "val_accuracy": [0.8]}),
            ("fine_tune", {"loss": [0.5, 0.2], "accuracy": [0.7, 0.9], "learning_rate": [1, 1]}),
        ]
    )
    run = tlkit.training.Run(phases=(head, tuned))
    loss, accuracy = curves.learning_curves(run).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert drawn["training"] == [[1, 0.5], [2, 0.2]]
    assert {y for _, y in drawn["solved head, training"]} == {0.1}
    assert loss.get_xlim() == (0.5, 2.5)
    assert [text.get_text() for text in loss.texts] == ["fine_tune"]
    assert "solved head, validation" in [line.get_label() for line in accuracy.lines]
    figure = loss.figure
    figure.savefig(io.BytesIO())
    [legend] = figure.legends
    assert len(legend.get_texts()) == 3
    assert legend.get_window_extent().y1 <= accuracy.get_window_extent().y0  # covers no curve


def test_a_single_epoch_is_drawn_in_the_middle() -> None:
    phase = tlkit.training.PhaseRun(
        name="head",
        history={"loss": [0.5], "accuracy": [0.75], "learning_rate": [0.1]},
        seconds=1.0,
        best_epoch=1,
        movement=Movement(moved=2, untouched=0),
    )
    figure = curves.learning_curves(tlkit.training.Run(phases=(phase,)))
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "accuracy"]
    assert all(panel.get_xlim() == (0.5, 1.5) for panel in figure.axes)
