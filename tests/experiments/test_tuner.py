from pathlib import Path

import keras
import numpy as np
import pytest
from tests.samples import small_classifier

import tlkit
from tlkit import sources
from tlkit.errors import ConfigError
from tlkit.evaluation.tuning import Trial, Tuning
from tlkit.experiments import tuner
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.tuning_space import TuningSpace

pytest.importorskip("optuna")
DIGITS = tlkit.datasets.digits().train.take(slice(120))
SPACE = TuningSpace(epochs=(1, 2), freeze=(0.0,), batch_size=(64,), max_layers=(1, 2))


@pytest.fixture(autouse=True)
def small(small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes build a classifier on a small backbone."""
    weights = small_backbone.get_weights()

    def build(*_: object, **__: object) -> keras.Model:
        small_backbone.set_weights(weights)
        return small_classifier(
            small_backbone, classes=10, input_shape=(8, 8, 1), value_range=(0, 16)
        )

    monkeypatch.setattr(Recipe, "build", build)


def start(**how: object) -> Tuning:
    quiet = {"on_message": lambda message: None, "space": SPACE, "folds": 2, "trials": 2}
    return tuner.tune(DIGITS, **{**quiet, **how})


def judge_by_rate(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """Replace training by a loss that a learning rate of 1e-3 makes lowest; return the calls."""
    calls = []

    def judge(job: object, trial: Trial, fold: int) -> tuple[float, float]:
        calls.append(trial)
        rate = trial.settings.get("learning_rate", 1e-5)
        return abs(np.log10(rate) + 3) + fold / 100, 0.5

    monkeypatch.setattr(tuner, "_judge_fold", judge)
    return calls


def test_trials_are_trained_and_judged_by_folds() -> None:
    told: list[object] = []
    found = start(on_message=told.append)
    assert [each.name for each in found.compared] == [
        *("head alone", "defaults", "trial 1", "trial 2")
    ]
    assert told == list(found.compared)
    assert found.head_alone.settings == {"epochs": 0}
    for each in found.compared:
        assert len(each.losses) == 2
        assert all(0 < loss < 3 for loss in each.losses)
    assert len({each.losses for each in found.compared}) > 2  # each was trained by itself
    assert 0 < sum(each.seconds for each in found.compared) <= found.seconds


def test_trials_find_the_better_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    judge_by_rate(monkeypatch)
    found = start(trials=25, seed=1)
    assert abs(np.log10(found.best.settings["learning_rate"]) + 3) < 0.1
    assert max(found.importances, key=found.importances.get) == "learning_rate"
    assert any(not each.is_complete for each in found.trials)  # hopeless ones end early
    assert found.gain(found.defaults).mean > 1


def test_a_folder_goes_on_with_its_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = judge_by_rate(monkeypatch)
    first = start(folder=tmp_path, trials=3)
    num_calls = len(calls)
    again = start(folder=tmp_path, trials=3)
    assert again == first
    assert len(calls) == num_calls
    more = start(folder=tmp_path, trials=5)
    assert more.trials[:3] == first.trials
    assert len(more.trials) == 5
    assert len({each.settings["learning_rate"] for each in more.trials}) == 5


def test_a_trial_that_was_interrupted_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = judge_by_rate(monkeypatch)
    judge = tuner._judge_fold

    def stop_in_the_fourth(job: object, trial: Trial, fold: int) -> tuple[float, float]:
        if trial.name == "trial 2" and fold == 1:
            raise KeyboardInterrupt
        return judge(job, trial, fold)

    monkeypatch.setattr(tuner, "_judge_fold", stop_in_the_fourth)
    with pytest.raises(KeyboardInterrupt, match=r"after one trial\. The same call goes on"):
        start(folder=tmp_path, trials=2)
    interrupted = calls[-1]
    monkeypatch.setattr(tuner, "_judge_fold", judge)
    found = start(folder=tmp_path, trials=2)
    assert found.trials[1].settings == interrupted.settings
    assert len(found.trials) == 2


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"folds": 3}, {"measure": "accuracy"}, {"space": TuningSpace()}]
)
def test_a_folder_of_another_tuning_is_refused(
    other: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_by_rate(monkeypatch)
    start(folder=tmp_path, trials=1)
    with pytest.raises(ConfigError, match="whose settings are others"):
        start(folder=tmp_path, trials=1, **other)
    with pytest.raises(ConfigError, match="whose images are others"):
        tuner.tune(DIGITS.take(slice(119)), folder=tmp_path, folds=2, space=SPACE, trials=1)


def test_the_time_is_over_within_a_trial(tmp_path: Path) -> None:
    found = start(folder=tmp_path, budget=1e-4)
    assert found.budget_ran_out
    assert not found.defaults.is_complete
    assert found.trials == ()
    assert not start(folder=tmp_path, trials=1, budget=60).budget_ran_out


def test_features_are_computed_once_for_all_folds_and_trials(tmp_path: Path) -> None:
    space = TuningSpace(epochs=(1,), freeze=(0.6,), batch_size=(64,), max_layers=(1,))
    first, second = tlkit.caching.Usage(), tlkit.caching.Usage()
    start(cache=tlkit.Cache(folder=tmp_path, usage=first), space=space, trials=1)
    start(cache=tlkit.Cache(folder=tmp_path, usage=second), space=space, trials=2)
    assert first.num_computed == len(DIGITS)
    assert (second.num_images, second.num_computed) == (len(DIGITS), 0)


def test_images_of_several_classes_and_recipes_without_settings_are_refused() -> None:
    several = sources.from_arrays(
        np.zeros((8, 8, 8, 1), "uint8"),
        np.eye(8, 3, dtype="int64"),
        class_names="abc",
        multi_label=True,
    )
    with pytest.raises(ConfigError, match="multi-label"):
        tuner.tune(several)
    with pytest.raises(ConfigError, match="`recipe` must be"):
        start(recipe="fast")


def test_a_model_as_a_backbone_is_left_as_it_was(small_backbone: keras.Model) -> None:
    before = small_backbone.get_weights()
    start(backbone=small_backbone, trials=1)
    assert all(map(np.array_equal, before, small_backbone.get_weights()))


def test_a_folder_of_a_backbone_with_other_weights_is_refused(
    small_backbone: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_by_rate(monkeypatch)
    start(backbone=small_backbone, folder=tmp_path)
    small_backbone.set_weights([each + 1 for each in small_backbone.get_weights()])
    with pytest.raises(ConfigError, match="whose settings are others"):
        start(backbone=small_backbone, folder=tmp_path)
