"""A training of the tail of a classifier: its epochs, its states, and its lost workers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import keras

import tlkit
from tlkit._internal.temporaries import temporary_folder
from tlkit.caching.plan import set_trainable
from tlkit.distributed import state_files, tail_group
from tlkit.distributed.cluster import Devices
from tlkit.distributed.tail_epochs import StoppingRule, find_divergence
from tlkit.distributed.tail_group import LostWorkerError, NoRoomError
from tlkit.distributed.tail_rows import TailJob
from tlkit.errors import Argument, ConfigError, StoreError
from tlkit.training import checkpoints, verification
from tlkit.training.divergence import warn_of_divergence
from tlkit.training.losses import find_mode
from tlkit.training.model_state import reset_calibration, set_model
from tlkit.training.records import PhaseRun, to_columns

_MAX_LOSSES = 3  # of workers, in a row without a finished epoch


@dataclass(kw_only=True, eq=False)
class TailTraining:
    """A training and its finished epochs.

    Attributes:
        job: The settings of the workers.
        settings: The settings that identify the training, by name.
        name: The name of the phase.
        on_message: A function of one line of text.
        history: The metrics of each finished epoch.
        seconds: How long earlier processes have trained.
    """

    job: TailJob
    settings: dict[str, str]
    name: str
    on_message: Callable[[str], None]
    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0

    def open(self, model: keras.Model) -> None:
        """Read the last state, or write the first one.

        Raises:
            ConfigError: The checkpoint is of another training.
            StoreError: It can't be written, or is damaged.
        """
        self._started = time.perf_counter()
        folder = self.job.states
        state = state_files.read_last(folder)
        if state is not None:
            checkpoints.check_settings(str(folder), state.values["settings"], self.settings)
            self.history = tuple(state.values["history"])
            self.seconds = float(state.values["seconds"])
            return
        folder.make_folder()
        with temporary_folder() as own:
            self.job.model.write(tlkit.save(model, own / self.job.model.name).read_bytes())
        state_files.write(folder, 0, self._values(()), {}, keep_epochs=())

    def run(self, ray: ModuleType, devices: Devices) -> None:
        """Train all epochs that are missing, by new workers where some were lost.

        Raises:
            ConfigError: Workers died again and again.
        """
        num_losses = 0
        while not self._rule.is_over(self.history):
            done = len(self.history)
            try:
                with tail_group.start(ray, self.job, devices, done) as group:
                    while not self._rule.is_over(self.history):
                        self._run_epoch(group)
            except LostWorkerError as error:
                if isinstance(error, NoRoomError) and not num_losses:
                    raise ConfigError(
                        Argument("cluster"),
                        f" must have free devices for the workers, but has {error}. Wait for the "
                        "other work there, or use fewer workers.",
                    ) from error
                num_losses = num_losses + 1 if len(self.history) == done else 1
                if num_losses == _MAX_LOSSES:
                    raise ConfigError(
                        Argument("cluster"),
                        f" must have workers that can finish an epoch, but they were lost "
                        f"{num_losses} times in a row: {error}. Machines whose memory is full kill "
                        "workers: use a smaller batch_size. What is done is in `checkpoint`: run "
                        "the same again.",
                    ) from error
                batch_size = self.job.phase.batch_size
                devices = tail_group.plan_remaining(ray, batch_size, devices.workers)
                self.on_message(
                    f"{self.name}: a worker was lost in epoch {len(self.history) + 1}; {devices} "
                    f"start from the end of epoch {len(self.history)}"
                )

    def _run_epoch(self, group: tail_group.TailGroup) -> None:
        started, number = time.perf_counter(), len(self.history)
        metrics = group.call_all("train", number)
        rate = metrics.pop("learning_rate")
        metrics |= group.call_all("evaluate")
        history = (*self.history, {**metrics, "learning_rate": rate})
        needed = self._rule.list_needed(history)
        group.call_first("save", number + 1, self._values(history), needed)
        self.history = history
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        seconds = time.perf_counter() - started
        self.on_message(
            f"{self.name} {number + 1}/{self.job.phase.epochs}: {shown} ({seconds:.1f} s)"
        )

    def finish(self, model: keras.Model) -> PhaseRun:
        """Set the classifier to the best state, and return the record of the training.

        Raises:
            StoreError: The state is damaged.
            TrainingError: A frozen weight changed, or a layer to be trained did not.

        Warns:
            UserWarning: The training diverged.
        """
        best, diverged = self._rule.find_best(self.history), find_divergence(self.history)
        before = verification.hash_weights(model)
        if best:
            self._restore(model, best)
        if diverged:
            loss = self.history[diverged - 1]["loss"]
            warn_of_divergence(self.name, diverged, loss=loss, best_epoch=best)
        plan = self.job.frozen.plan(model)
        set_trainable(model, plan)
        return PhaseRun(
            name=self.name,
            history=to_columns(self.history),
            seconds=self._total_seconds,
            best_epoch=best,
            movement=verification.verify_movement(model, plan, before, trained=best > 0),
            diverged=diverged,
        )

    def _restore(self, model: keras.Model, epoch: int) -> None:
        """Set the classifier to the state after an epoch."""
        state = state_files.read(self.job.states, epoch)
        if state is None:
            raise StoreError(
                f"The checkpoint of epoch {epoch} in '{self.job.states}' is damaged. Delete the "
                "folder to train from the start."
            )
        set_model(model, state.arrays)
        reset_calibration(model)

    def _values(self, history: tuple[dict[str, float], ...]) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "history": list(history),
            "seconds": self._total_seconds,
        }

    @property
    def _total_seconds(self) -> float:
        return self.seconds + time.perf_counter() - self._started

    @cached_property
    def _rule(self) -> StoppingRule:
        phase, mode = self.job.phase, None
        if phase.patience is not None:
            mode = find_mode(phase, num_classes=len(self.job.names), form="integers")
        return StoppingRule(
            epochs=phase.epochs, patience=phase.patience, monitor=phase.monitor, mode=mode
        )
