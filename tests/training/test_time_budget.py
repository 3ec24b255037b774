from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from tests.samples import TickingClock, make_noise, small_classifier

import tlkit
from tlkit import Phase, freezing
from tlkit.experiments import recipe
from tlkit.training import time_budget

DATA = make_noise(64)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> TickingClock:
    """A step, which looks at the clock a few times, takes about half a second."""
    made = TickingClock(0.2)
    monkeypatch.setattr(time_budget, "time", made)
    monkeypatch.setattr(recipe, "time", made)
    return made


def _within(
    model: keras.Model, seconds: float, *, checkpoint: Path | None = None, **settings: object
) -> tlkit.training.PhaseRun | None:
    phase = Phase(freeze=freezing.first(3), **{"epochs": 4000, **settings})
    return time_budget.train_within(
        model,
        phase,
        DATA,
        name="tail",
        seconds=seconds,
        seed=0,
        cache=None,
        checkpoint=checkpoint,
        verbose=False,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("ticking")
def test_as_many_epochs_are_trained_as_fit(small_backbone: keras.Model) -> None:
    run = _within(small_classifier(small_backbone), 60.0)
    assert run is not None
    assert 1 < run.num_epochs < 200


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize(
    ("epochs", "cut_short"), [pytest.param(4000, True, marks=pytest.mark.slow), (2, False)]
)
def test_a_cosine_ends_with_the_time_or_with_the_epochs(
    small_backbone: keras.Model, *, epochs: int, cut_short: bool
) -> None:
    settings = {"schedule": "cosine", "warmup": 0.5, "learning_rate": 1e-3, "batch_size": 1}
    run = _within(small_classifier(small_backbone), 300.0, epochs=epochs, **settings)
    assert run is not None
    assert (run.num_epochs < epochs) is cut_short
    assert 0 <= run.history["learning_rate"][-1] < 1e-5


def test_nothing_changes_if_no_epoch_fits(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    before = model.get_weights()
    assert _within(model, 0.001) is None
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.slow
def test_a_phase_that_takes_longer_than_measured_is_stopped(
    small_backbone: keras.Model, ticking: TickingClock
) -> None:
    class Slower(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            Slower.batches += 1
            ticking.now += 20 if Slower.batches > 20 else 0  # the timed steps are 20

    run = _within(small_classifier(small_backbone), 300.0, callbacks=(Slower(),), batch_size=1)
    assert run is not None
    assert run.num_epochs == 1
    assert Slower.batches < 64


@pytest.mark.slow
@pytest.mark.usefixtures("ticking")
def test_a_phase_whose_time_was_over_goes_on_with_more_of_it(
    small_backbone: keras.Model, tmp_path: Path
) -> None:
    model = small_classifier(small_backbone)
    settings = {"schedule": "cosine", "learning_rate": 1e-3, "batch_size": 8}
    first = _within(model, 100.0, checkpoint=tmp_path, **settings)
    assert first is not None
    assert first.out_of_time
    same = _within(model, -1.0, checkpoint=tmp_path, **settings)  # nothing is left
    assert same == first
    more = _within(model, 200.0, checkpoint=tmp_path, **settings)
    assert more is not None
    assert more.num_epochs > first.num_epochs
    whole = first.num_epochs - 1  # its last epoch was cut short, and is done again
    assert more.history["loss"][:whole] == first.history["loss"][:whole]


class _Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(time_budget, "time", made)
    return made


def _rates(clock: _Clock, *, seconds_per_step: float) -> list[float]:
    """Return the rates of a phase of 3 epochs of 4 steps that has 100 seconds."""
    phase = Phase(epochs=3, schedule="cosine", warmup=0.5, learning_rate=0.1)
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=None), stop_training=False)
    callbacks = [time_budget.Deadline(100.0), time_budget.TimedCosine(100.0, phase, steps=4)]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    rates = []
    while len(rates) < 12 and not model.stop_training:
        for callback in callbacks:
            callback.on_train_batch_begin(0)
        rates.append(model.optimizer.learning_rate)
        clock.now += seconds_per_step
        for callback in callbacks:
            callback.on_train_batch_end(0)
    return rates


def test_with_enough_time_the_rate_is_the_cosine_of_keras(clock: _Clock) -> None:
    usual = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=10, warmup_target=0.1, warmup_steps=2
    )
    np.testing.assert_allclose(
        _rates(clock, seconds_per_step=1.0), [float(usual(step)) for step in range(12)], atol=1e-7
    )


def test_without_enough_time_the_rate_falls_with_the_time(clock: _Clock) -> None:
    rates = _rates(clock, seconds_per_step=16.0)
    fall = [0.05 * (1 + np.cos(np.pi * spent / 68)) for spent in (0, 16, 32, 48)]
    np.testing.assert_allclose(rates, [0.0, 0.05, *fall], atol=1e-12)


def test_no_step_starts_that_would_end_after_the_deadline(clock: _Clock) -> None:
    _rates(clock, seconds_per_step=16.0)
    assert clock.now == 96.0  # a seventh step would have ended at 112 of 100


def test_without_any_time_no_steps_are_timed(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_budget, "_time_steps", lambda *_, **__: pytest.fail("it was timed"))
    assert _within(small_classifier(small_backbone), -1.0) is None


def test_a_first_step_at_rate_0_is_not_the_last(clock: _Clock) -> None:
    clock.now = 99.0
    assert _rates(clock, seconds_per_step=50.0) == pytest.approx([0.0, 0.05])


@pytest.mark.slow
@pytest.mark.usefixtures("ticking")
def test_a_head_that_is_trained_stops_in_time() -> None:
    digits = tlkit.datasets.digits().limited(200)
    recipe = tlkit.recipes.few_images(epochs=(100_000, 1))
    trained = recipe.train(digits.train, weights="starter", budget=0.2, verbose=False)
    [head] = trained.run.phases
    assert head.name == "head"
    assert 1 <= head.num_epochs < 60
