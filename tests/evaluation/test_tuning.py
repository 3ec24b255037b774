import io
import json

import pytest
import rich.console

from tlkit.evaluation.tuning import Trial, Tuning


def make_trial(name: str, losses: tuple[float, ...], accuracy: float = 0.9, **how: object) -> Trial:
    return Trial(
        name=name,
        settings={"learning_rate": 0.000123, "epochs": 8},
        losses=losses,
        accuracies=(accuracy,) * len(losses),
        **how,
    )


DEFAULTS = make_trial("defaults", (0.5, 0.4, 0.6), 0.8)
GOOD = make_trial("trial 1", (0.4, 0.3, 0.4), 0.85, parameters={"epochs": 8})
ACCURATE = make_trial("trial 2", (0.6, 0.6, 0.6), 0.95, augment=("flip", "crop"))
STOPPED = make_trial("trial 3", (0.1,), 0.99, is_complete=False)


def make_tuning(**how: object) -> Tuning:
    trials = (GOOD, ACCURATE, STOPPED)
    settings = {"measure": "loss", "defaults": DEFAULTS, "trials": trials, **how}
    return Tuning(recipe="best", num_images=300, num_folds=3, **settings)


def test_the_best_is_the_complete_trial_with_the_lowest_loss_or_highest_accuracy() -> None:
    assert make_tuning().best is GOOD
    assert make_tuning(measure="accuracy").best is ACCURATE
    assert [each.name for each in make_tuning().ranking] == ["trial 1", "defaults", "trial 2"]


def test_the_gain_is_a_mean_over_folds_and_positive_where_the_best_is_better() -> None:
    gain = make_tuning().gain(DEFAULTS)
    assert gain.mean == pytest.approx((0.1 + 0.1 + 0.2) / 3)
    assert gain.interval == pytest.approx(4.3027 * 0.033333, rel=1e-3)  # Student's t, 2 degrees
    assert make_tuning(measure="accuracy").gain(DEFAULTS).mean == pytest.approx(0.15)


def test_what_is_printed_compares_the_best_with_the_defaults_and_the_head_alone() -> None:
    alone = make_trial("head alone", (0.45, 0.35, 0.45))
    text = str(make_tuning(head_alone=alone, importances={"epochs": 0.75}, seconds=61.4))
    assert "3 trials of best on 3 folds of 300 images in 61 s, 1 of them stopped early" in text
    assert "loss better than defaults by 0.1333 ± 0.1434, which may be chance" in text
    assert (
        str(GOOD) == "trial 1: loss 0.3667, accuracy 85.00 %, 0 s (learning_rate=0.000123 epochs=8)"
    )
    page = io.StringIO()
    rich.console.Console(file=page, width=200).print(GOOD)
    assert page.getvalue().strip() == str(GOOD)
    assert "loss better than head alone by 0.0500" in text
    assert "what mattered: epochs 75 %" in text
    assert "learning_rate=0.000123 epochs=8 augment=flip+crop" in text
    assert "trial 3" not in text.split("settings")[1]


def test_without_a_complete_trial_the_defaults_are_what_is_left() -> None:
    unfinished = Trial(name="defaults", settings={}, is_complete=False)
    tuning = make_tuning(defaults=unfinished, trials=(STOPPED,), budget_ran_out=True)
    assert tuning.best is unfinished
    assert "the time was over" in str(tuning)


def test_values_survive_json() -> None:
    tuning = make_tuning(head_alone=make_trial("head alone", (1.0, 1.0, 1.0)))
    assert Tuning.from_dict(json.loads(json.dumps(tuning.to_dict()))) == tuning


def test_without_any_result_there_is_no_empty_table() -> None:
    unfinished = make_trial("defaults", (0.5,), is_complete=False)
    text = str(make_tuning(defaults=unfinished, trials=(), budget_ran_out=True))
    assert text.strip() == "0 trials of best on 3 folds of 300 images in 0 s: the time was over"
