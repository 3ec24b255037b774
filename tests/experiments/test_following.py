"""Validation images are evaluated after every epoch, and change nothing."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import tlkit
from tlkit import recipes
from tlkit.experiments import trials
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.trained import Trained

DIGITS = tlkit.datasets.digits().train
TRAIN, VALIDATION = DIGITS.take(slice(200)), DIGITS.take(slice(200, 240))


pytestmark = pytest.mark.usefixtures("small_recipes")


def start(recipe: Recipe, **settings: object) -> Trained:
    return recipe.train(TRAIN, seed=0, verbose=False, **settings)


def check_equal(first: Trained, second: Trained) -> None:
    weights = (each.model.get_weights() for each in (first, second))
    for one, other in zip(*weights, strict=True):
        assert one.tobytes() == other.tobytes()


def few_images(*callbacks: keras.callbacks.Callback) -> Recipe:
    recipe = recipes.few_images(epochs=(2, 2), freeze=0.5)
    return replace(recipe, fine_tune=replace(recipe.fine_tune, callbacks=callbacks))


@pytest.mark.parametrize("cache", [tlkit.Cache(engine="keras"), None])
@pytest.mark.parametrize("recipe", [few_images(), recipes.best(epochs=2, learning_rate=1e-3)])
def test_each_epoch_has_a_validation_loss_and_the_weights_are_the_same_without(
    recipe: Recipe, cache: tlkit.Cache | None
) -> None:
    alone = start(recipe, cache=cache)
    followed = start(recipe, cache=cache, validation_data=VALIDATION)
    check_equal(followed, alone)
    assert [phase.name for phase in followed.run.phases] == ["head", "fine_tune"]
    for phase, before in zip(followed.run.phases, alone.run.phases, strict=True):
        assert len(phase.history["val_loss"]) == phase.num_epochs
        assert "val_loss" not in before.history
        assert phase.history["loss"] == before.history["loss"]
    if recipe.name == "few_images":
        found = tlkit.evaluate(followed.model, VALIDATION)
        last = followed.run.phases[-1].history
        assert last["val_accuracy"][-1] == pytest.approx(found.accuracy)
        assert last["val_loss"][-1] == pytest.approx(found.loss, rel=1e-3)


def test_a_trial_that_is_the_result_is_followed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_MAX_LEFT_OUT", 0.3)
    recipe = recipes.best(epochs=2, learning_rate=1e-3)
    followed = start(recipe, validation_data=VALIDATION)
    assert not followed.choice.refitted
    check_equal(followed, start(recipe))
    assert all("val_loss" in phase.history for phase in followed.run.phases)


def test_a_training_that_goes_on_ends_the_same(tmp_path: Path) -> None:
    def stop(epoch: int, logs: dict | None = None) -> None:
        if epoch == 1 and not stopped:
            stopped.append(epoch)
            raise RuntimeError("stopped")

    stopped: list[int] = []
    recipe = few_images(keras.callbacks.LambdaCallback(on_epoch_begin=stop))
    how = {"checkpoint": tmp_path / "state", "validation_data": VALIDATION}
    with pytest.raises(RuntimeError, match="stopped"):
        start(recipe, **how)
    resumed = start(recipe, **how)
    whole = start(recipe, validation_data=VALIDATION)
    check_equal(resumed, whole)
    check_equal(resumed, start(recipe))
    for phase, expected in zip(resumed.run.phases, whole.run.phases, strict=True):
        np.testing.assert_allclose(phase.history["val_loss"], expected.history["val_loss"])


def test_a_head_that_is_solved_has_no_epochs_to_follow_and_a_budget_no_time() -> None:
    for recipe, settings in ((recipes.fast(), {}), (few_images(), {"budget": 10.0})):
        trained = start(recipe, validation_data=VALIDATION, **settings)
        assert not any("val_loss" in phase.history for phase in trained.run.phases)
