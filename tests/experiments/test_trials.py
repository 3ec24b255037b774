from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.samples import TickingClock

import tlkit
from tlkit import freezing, recipes
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.evaluation.candidates import Candidate, Choice
from tlkit.experiments import recipe as recipe_module
from tlkit.experiments import recipe_training, trials
from tlkit.experiments.recipe import Recipe
from tlkit.models.inspection import probabilities_of
from tlkit.training import time_budget

DIGITS = tlkit.datasets.digits().train.take(slice(200))


@pytest.fixture
def small(small_recipes: None) -> Recipe:
    """`best` with two epochs, on a small random backbone."""
    return recipes.best(epochs=2, learning_rate=1e-3)


def tune(recipe: Recipe, **changes: object) -> Recipe:
    return replace(recipe, fine_tune=replace(recipe.fine_tune, **changes))


def start(recipe: Recipe, **settings: object) -> tlkit.experiments.recipes.Trained:
    return recipe.train(DIGITS, seed=0, verbose=False, **settings)


def test_fine_tuning_that_helps_is_repeated_on_all_images(small: Recipe) -> None:
    trained = start(small)
    choice = trained.choice
    assert choice.num_held_out == 48  # a quarter of each class, in whole images
    assert choice.refitted
    assert choice.chosen.loss < choice.candidates[0].loss
    assert [run.name for run in trained.run.phases] == ["head", "fine_tune"]
    assert 0 < choice.seconds < trained.seconds
    assert probabilities_of(trained.model).temperature == choice.chosen.temperature != 1
    assert f"{choice.chosen.name} (chosen)" in str(choice)
    assert Choice.from_dict(choice.to_dict()) == choice


def test_fine_tuning_that_harms_leaves_the_head_that_was_solved_on_all_images(
    small: Recipe,
) -> None:
    harmful = tune(small, learning_rate=30.0, warmup=0.0, global_clipnorm=None, optimizer="sgd")
    trained = start(harmful)
    rates = {each.learning_rate for each in trained.choice.candidates[1:]}
    assert np.allclose(sorted(rates), [10 / 3, 10, 30])
    assert trained.choice.chosen == trained.choice.candidates[0]
    assert [run.name for run in trained.run.phases] == ["head"]
    alone = start(replace(small, fine_tune=None))
    for weight, expected in zip(
        trained.model.get_weights(), alone.model.get_weights(), strict=True
    ):
        # features of the images come from other batches, in which the last digits differ
        np.testing.assert_allclose(weight, expected, rtol=1e-2, atol=1e-3)


def test_the_model_is_as_far_on_the_way_as_the_candidate(
    small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[tuple[list[np.ndarray], list[np.ndarray], float]] = []
    blend = trials.blend

    def watch(before: list[np.ndarray], after: list[np.ndarray], share: float) -> list[np.ndarray]:
        ways.append((before, after, share))
        return blend(before, after, share)

    monkeypatch.setattr(trials, "blend", watch)
    monkeypatch.setattr(trials, "_SHARES", (0.5,))
    trained = start(small)
    assert trained.choice.chosen.share == 0.5
    before, after, share = ways[-1]
    assert share == 0.5
    assert trained.model.get_weights()[0].tobytes() not in (before[0].tobytes(), after[0].tobytes())
    for weight, start_, end in zip(trained.model.get_weights(), before, after, strict=True):
        np.testing.assert_allclose(weight, (start_ + end) / 2, rtol=1e-5, atol=1e-6)


def test_of_many_images_the_trial_is_the_result(
    small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_MAX_LEFT_OUT", 0.3)
    trained = start(small)
    assert not trained.choice.refitted
    assert trained.choice.chosen.learning_rate is not None
    assert [run.name for run in trained.run.phases] == ["head", "fine_tune"]
    assert trained.run.phases[0].num_epochs == 1


def test_with_too_few_images_to_compare_the_head_alone_is_trained(small: Recipe) -> None:
    with pytest.warns(UserWarning, match="60 images are too few to tell whether fine-tuning"):
        trained = small.train(DIGITS.take(slice(60)), verbose=False)
    assert [run.name for run in trained.run.phases] == ["head"]
    assert trained.choice is None
    assert trained.budget_ran_out is None


def test_a_budget_that_ends_in_the_trial_gives_what_was_tried(
    small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TickingClock(0.5)
    for module in (recipe_module, recipe_training, trials, time_budget):
        monkeypatch.setattr(module, "time", clock)
    long = tune(small, epochs=1000)
    with pytest.warns(UserWarning, match="ran out in epoch .* of 'fine_tune'"):
        trained = start(long, budget=1)
    assert clock.now < 60 + 5  # what comes after training is not planned
    assert not trained.choice.refitted
    with pytest.warns(UserWarning, match="ran out before fine-tuning"):
        short = start(long, budget=0.02)
    assert [run.name for run in short.run.phases] == ["head"]
    assert short.choice is None  # no epoch could fit, so the head was trained at once


def test_an_epoch_that_cannot_fit_is_not_tried(
    small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_training.RecipeTraining, "time_image", lambda *_: 60.0)
    with pytest.warns(UserWarning, match="ran out before fine-tuning"):
        trained = start(small, budget=10)
    assert trained.choice is None
    assert [run.name for run in trained.run.phases] == ["head"]
    assert trained.run.phases[0].trunk.num_images == len(DIGITS)


def test_the_head_of_a_trial_and_that_of_all_images_share_features(
    small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    run = TrunkRunner.run

    def count(self: TrunkRunner, images: np.ndarray) -> list[np.ndarray]:
        ran.append(len(images))
        return run(self, images)

    monkeypatch.setattr(TrunkRunner, "run", count)
    harmful = tune(small, learning_rate=30.0, warmup=0.0, global_clipnorm=None, optimizer="sgd")
    trained = start(replace(harmful, fine_tune=replace(harmful.fine_tune, freeze=freezing.nothing)))
    assert trained.choice.num_held_out == 48
    assert sum(ran) == len(DIGITS)  # the trial's, those held out, and none again
    ran.clear()
    start(small, cache=None)
    assert not ran


def test_trials_go_on_after_a_stop_to_the_same_weights(small: Recipe, tmp_path: Path) -> None:
    whole = start(small, checkpoint=tmp_path / "whole")
    calls = 0

    def stop(epoch: int, logs: dict | None = None) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # the second epoch of the trial
            raise RuntimeError("stopped")

    watcher = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(RuntimeError, match="stopped"):
        start(tune(small, callbacks=(watcher,)), checkpoint=tmp_path / "state")
    assert (tmp_path / "state" / "trial-1").is_dir()
    resumed = start(tune(small, callbacks=(watcher,)), checkpoint=tmp_path / "state")
    assert resumed.choice.candidates == whole.choice.candidates
    for weight, expected in zip(
        resumed.model.get_weights(), whole.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


def test_the_head_alone_is_chosen_unless_another_has_a_lower_loss_and_no_lower_accuracy() -> None:
    alone = Candidate(accuracy=0.8, loss=1.0)
    worse = Candidate(learning_rate=0.1, share=1, accuracy=0.7, loss=0.5)
    better = Candidate(learning_rate=0.1, share=0.5, accuracy=0.8, loss=0.9)
    best = Candidate(learning_rate=0.1, share=0.25, accuracy=0.9, loss=0.8)
    gone = replace(best, diverged=True, loss=0.1)
    assert Choice(candidates=(alone, worse, gone), num_held_out=9).chosen == alone
    assert Choice(candidates=(alone, worse, better, best), num_held_out=9).chosen == best


def candidate(rate: float | None, share: float, loss: float, **more: object) -> Candidate:
    return Candidate(learning_rate=rate, share=share, accuracy=0.5, loss=loss, **more)


ALONE = candidate(None, 0, 1.0)


@pytest.mark.parametrize(
    ("tried", "rate"),
    [
        ([], 0.09),
        ([candidate(0.09, 1, 1.1)], 0.03),  # improved nothing
        ([candidate(0.09, 1, 0.9, diverged=True)], 0.03),
        ([candidate(0.09, 0.5, 0.9), candidate(0.09, 1, 0.95)], None),
        ([candidate(0.09, 0.5, 0.9), candidate(0.09, 1, 0.8)], 0.27),  # the end is the best
        ([candidate(0.09, 1, 0.9), candidate(0.27, 1, 0.8)], 0.81),
        ([candidate(0.09, 1, 0.8), candidate(0.27, 1, 0.9)], None),
        ([candidate(0.09, 1, 1.1), candidate(0.03, 1, 0.9)], None),  # not raised again
        ([candidate(0.09, 1, 0.8), candidate(0.27, 1, 1.9)], None),
        ([candidate(rate, 1, 1.1) for rate in (0.09, 0.03, 0.01)], None),  # three were tried
    ],
)
def test_a_rate_is_lowered_if_it_harms_and_raised_as_long_as_it_helps(
    tried: list[Candidate], rate: float | None
) -> None:
    assert trials.next_rate([ALONE, *tried], 0.09) == pytest.approx(rate)


def test_of_many_images_a_rate_is_not_raised() -> None:
    assert trials.next_rate([ALONE, candidate(0.09, 1, 0.8)], 0.09, may_raise=False) is None
