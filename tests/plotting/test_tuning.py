import pytest

from tlkit.errors import DataError
from tlkit.evaluation.tuning import Trial, Tuning
from tlkit.plotting.tuning import tuning_chart


def make_trial(rate: float, epochs: int, loss: float, **how: object) -> Trial:
    parameters = {"learning_rate": rate, "epochs": epochs, "augment": "none"}
    losses, accuracies = (loss, loss), (0.5, 0.7)
    values = {"losses": losses, "accuracies": accuracies, "parameters": parameters, **how}
    return Trial(name="trial", settings={}, **values)


def make_tuning(*trials: Trial, **how: object) -> Tuning:
    defaults = Trial(name="defaults", settings={}, losses=(0.5,), accuracies=(0.9,))
    return Tuning(
        **{"recipe": "best", "measure": "loss", "num_images": 9, "num_folds": 2, **how},
        defaults=defaults,
        trials=trials,
    )


def test_each_setting_has_a_panel_with_a_point_for_each_complete_trial() -> None:
    trials = [make_trial(1e-4, 8, 0.4), make_trial(1e-3, 4, 0.3)]
    stopped = make_trial(1e-2, 16, 0.9, is_complete=False)
    figure = tuning_chart(make_tuning(*trials, stopped, importances={"epochs": 0.8}))
    rate, epochs, augment, empty = figure.axes
    assert [panel.get_title() for panel in (rate, epochs, augment)] == [
        *("learning rate", "epochs (80 %)", "augment")
    ]
    assert not empty.get_visible()
    assert rate.get_xscale() == "log"
    figure.canvas.draw()
    shown = [text.get_text() for text in rate.get_xticklabels(which="both") if text.get_text()]
    assert {"1e-04", "3e-04", "1e-03"} <= set(shown)
    assert not any("$" in text for text in shown)  # mathematics is not parsed in figures
    points, ring = rate.collections
    assert points.get_offsets().tolist() == [[1e-4, 0.4], [1e-3, 0.3]]
    assert ring.get_offsets().tolist() == [[1e-3, 0.3]]
    assert [text.get_text() for text in epochs.get_xticklabels()] == ["4", "8"]
    assert rate.lines[0].get_ydata()[0] == 0.5


def test_accuracy_is_drawn_in_percent() -> None:
    figure = tuning_chart(make_tuning(make_trial(1e-4, 8, 0.4), measure="accuracy"))
    assert figure.axes[0].collections[0].get_offsets()[0][1] == pytest.approx(60)


def test_nothing_complete_is_refused() -> None:
    with pytest.raises(DataError, match="at least one complete trial"):
        tuning_chart(make_tuning(make_trial(1e-4, 8, 0.4, is_complete=False)))
