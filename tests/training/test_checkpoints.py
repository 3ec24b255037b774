import itertools
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.samples import make_noise, small_classifier

from tlkit import Cache, Phase, TwoPhaseTrainer, freezing
from tlkit.errors import ConfigError, StoreError, TrainingInterrupted
from tlkit.training import SolvedHead, checkpoints
from tlkit.training.checkpoint_files import CheckpointFolder
from tlkit.training.records import Run

DATA = make_noise(64)

RECIPES: dict[str, dict[str, Any]] = {
    "tail": {
        "schedule": "cosine",
        "warmup": 0.5,
        "ema_momentum": 0.9,
        "batchnorm": "reestimate",
        "freeze": freezing.first(3),
    },
    "patience": {"patience": 1, "monitor": "loss", "freeze": freezing.first(3)},
    "whole": {
        "freeze": freezing.nothing,
        "augmentation": (keras.layers.RandomTranslation(0.2, 0.2),),
    },
}


class _Interrupt(keras.callbacks.Callback):
    """Presses Ctrl-C when an epoch begins; it remembers how many epochs it has seen."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.seen = at, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.at:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seen += 1


def _model(seed: int, width: int = 8) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="middle")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name="top")(x)
    return small_classifier(keras.Model(image, keras.layers.BatchNormalization(name="bn")(x)))


def _fit(
    settings: dict[str, Any],
    seed: int,
    *,
    checkpoint: Path | None = None,
    interrupts: tuple[int, int] = (99, 99),
    head: Phase | SolvedHead | None = None,
    width: int = 8,
) -> tuple[list[np.ndarray], Run, _Interrupt]:
    """Return the weights and the record of a training of 2 and 4 epochs."""
    model, last = _model(seed, width), _Interrupt(interrupts[1])
    trainer = TwoPhaseTrainer(
        head=head or Phase(epochs=2, callbacks=(_Interrupt(interrupts[0]),)),
        fine_tune=Phase(epochs=4, learning_rate=1e-3, callbacks=(last,), **settings),
        seed=5,
        checkpoint=checkpoint,
    )
    run = trainer.fit(model, DATA, validation_data=DATA, verbose=False)
    return model.get_weights(), run, last


class _InterruptStep(keras.callbacks.Callback):
    """Presses Ctrl-C after so many steps of this process."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.steps = after, itertools.count(1)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if next(self.steps) == self.after:
            raise KeyboardInterrupt


def _assert_same_history(run: Run, other: Run) -> None:
    assert run.history.keys() == other.history.keys()
    for name, values in run.history.items():
        np.testing.assert_array_equal(values, other.history[name])


CASES = [
    pytest.param(name, interrupts, marks=[] if is_fast else pytest.mark.slow)
    for name in RECIPES
    for interrupts, is_fast in {(99, 2): name != "whole", (1, 99): False, (99, 0): False}.items()
]


@pytest.mark.parametrize(("name", "interrupts"), CASES)
def test_a_training_that_was_interrupted_ends_as_one_that_was_not_bit_for_bit(
    tmp_path: Path, name: str, interrupts: tuple[int, int]
) -> None:
    expected, expected_run, _ = _fit(RECIPES[name], 1)
    with pytest.raises(TrainingInterrupted) as stopped:
        _fit(RECIPES[name], 1, checkpoint=tmp_path, interrupts=interrupts)
    done = interrupts[0] if interrupts[0] < 2 else 2 + interrupts[1]
    assert len(stopped.value.run.history["epoch"]) == done
    weights, run, last = _fit(RECIPES[name], 7, checkpoint=tmp_path)  # another initial head
    for found, wanted in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    _assert_same_history(run, expected_run)
    assert last.seen == run.phases[1].num_epochs  # what a callback counts goes on
    if run.phases[0].trunk is not None:
        assert run.phases[0].trunk.num_computed == (0 if done < 2 else 64)  # features are kept


@pytest.mark.parametrize("name", [pytest.param("tail", marks=pytest.mark.slow), "whole"])
def test_within_an_epoch_it_goes_on_after_the_last_saved_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(checkpoints, "MINUTES", 0)  # saved after every step

    def fit(after: int, checkpoint: Path | None) -> tuple[list[np.ndarray], Run]:
        model, counter = _model(1), _InterruptStep(after)
        trainer = TwoPhaseTrainer(
            head=SolvedHead(),
            fine_tune=Phase(epochs=3, batch_size=10, callbacks=(counter,), **RECIPES[name]),
            seed=5,
            checkpoint=checkpoint,
        )
        run = trainer.fit(model, DATA, verbose=False)
        return model.get_weights(), run

    expected, expected_run = fit(999, None)
    for after in (1, 10, 7):  # 7 steps an epoch: in the first, in the second, and its last one
        with pytest.raises(TrainingInterrupted):
            fit(after, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        weights, run = fit(999, tmp_path)
    for found, wanted in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    _assert_same_history(run, expected_run)


def test_a_finished_training_is_loaded_and_not_trained_again(tmp_path: Path) -> None:
    head = SolvedHead()
    weights, run, _ = _fit(RECIPES["tail"], 1, checkpoint=tmp_path, head=head)
    again, same, last = _fit(RECIPES["tail"], 7, checkpoint=tmp_path, head=head)
    for found, wanted in zip(again, weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert same == run
    assert last.seen == 0


def test_an_interrupt_says_how_to_go_on_and_keeps_the_record(tmp_path: Path) -> None:
    message = "Interrupted in 'fine_tune', after 1 of 4 epochs. Run the same again"
    with pytest.raises(TrainingInterrupted, match=message) as stopped:
        _fit(RECIPES["patience"], 1, checkpoint=tmp_path, interrupts=(99, 1))
    assert [phase.name for phase in stopped.value.run.phases] == ["head", "fine_tune"]
    with pytest.raises(TrainingInterrupted, match="Set `checkpoint`"):
        _fit(RECIPES["patience"], 1, interrupts=(1, 99))


def test_a_checkpoint_of_another_training_is_refused_with_what_differs(tmp_path: Path) -> None:
    model, phase = _model(1), Phase(epochs=1)
    TwoPhaseTrainer(head=phase, seed=1, checkpoint=tmp_path).fit(model, DATA, verbose=False)
    images, labels = DATA
    others = {
        "head.epochs 1, now 2": (Phase(epochs=2), DATA, 1),
        "head.seed 1, now 2": (phase, DATA, 2),
        "data 64 images, .*, now 64 images, ": (phase, (255 - images, labels), 1),
        "head.freeze 7 layers, now 0 layers": (Phase(epochs=1, freeze=freezing.nothing), DATA, 1),
    }
    for message, (head, data, seed) in others.items():
        trainer = TwoPhaseTrainer(head=head, seed=seed, checkpoint=tmp_path)
        with pytest.raises(ConfigError, match=message):
            trainer.fit(_model(1), data, verbose=False)


def test_no_features_are_kept_without_a_cache_or_where_it_has_a_folder(tmp_path: Path) -> None:
    trainer = TwoPhaseTrainer(head=Phase(), seed=1, cache=None, checkpoint=tmp_path / "no")
    trainer.fit(_model(1), DATA, verbose=False)
    trainer = TwoPhaseTrainer(
        head=Phase(),
        seed=1,
        cache=Cache(folder=tmp_path / "own"),
        checkpoint=tmp_path / "own-state",
    )
    trainer.fit(_model(1), DATA, verbose=False)
    assert not (tmp_path / "no" / "features").exists()
    assert not (tmp_path / "own-state" / "features").exists()


def test_too_small_a_disk_is_refused_before_the_training(small_disk: Path) -> None:
    message = "Can't write .* kB to '.*run': there is not enough space; .* kB are free"
    with pytest.raises(StoreError, match=message) as refused:
        _fit(RECIPES["whole"], 1, checkpoint=small_disk / "run", width=64)
    assert refused.traceback[-1].name == "check_room"
    assert not (small_disk / "run").exists()


class _FillDisk(keras.callbacks.Callback):
    """Fills a disk when an epoch begins, as others may who write to it."""

    def __init__(self, disk: Path, epoch: int) -> None:
        super().__init__()
        self.disk, self.epoch = disk, epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.epoch:
            with suppress(OSError), (self.disk / "others").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1024))


def test_a_disk_that_fills_up_stops_the_training_and_what_was_done_is_kept(
    small_disk: Path,
) -> None:
    def fit(epoch: int, checkpoint: Path | None) -> list[np.ndarray]:
        model = _model(1)
        fine_tune = Phase(epochs=4, callbacks=(_FillDisk(small_disk, epoch),), **RECIPES["whole"])
        trainer = TwoPhaseTrainer(
            head=SolvedHead(), fine_tune=fine_tune, seed=5, checkpoint=checkpoint
        )
        trainer.fit(model, DATA, verbose=False)
        return model.get_weights()

    expected = fit(99, None)
    with pytest.raises(StoreError, match="Can't write '.*run.*': No space left on device"):
        fit(2, small_disk / "run")
    (small_disk / "others").unlink()
    assert len(CheckpointFolder(small_disk / "run").load().values["finished"]) == 1
    for found, wanted in zip(fit(99, small_disk / "run"), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_state_of_another_training_is_an_error_about_the_checkpoint() -> None:
    with pytest.raises(ConfigError, match="seed 1, now 2. Choose another folder") as caught:
        checkpoints.check_settings("folder", {"seed": "1"}, {"seed": "2"})
    renamed = caught.value.rename_arguments({"checkpoint": "cluster_folder"})
    assert str(renamed).startswith("`cluster_folder` must be of this training, got that of anothe")
