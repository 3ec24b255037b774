"""A training of the tail of a classifier: its epochs, its states, and its lost workers."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras

import tlkit
from tlkit._internal.temporaries import temporary_folder
from tlkit.distributed import state_files, tail_group
from tlkit.distributed.cluster import Devices
from tlkit.distributed.tail_group import LostWorkerError, NoRoomError
from tlkit.distributed.tail_rows import TailJob
from tlkit.errors import Argument, ConfigError, StoreError, TrainingError
from tlkit.training import checkpoints, verification
from tlkit.training.model_state import reset_calibration, set_model
from tlkit.training.records import PhaseRun, to_columns

_MAX_LOSSES = 3  # of workers, in a row without a finished epoch


@dataclass(kw_only=True, eq=False)
class TailTraining:
    """A training, and how far it is.

    Attributes:
        job: The settings of the workers.
        settings: What identifies the training.
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
        reset_calibration(model)
        with temporary_folder() as own:
            self.job.model.write(tlkit.save(model, own / self.job.model.name).read_bytes())
        state_files.write(folder, 0, self._values(()), {}, kept=())

    def run(self, ray: ModuleType, devices: Devices) -> None:
        """Train all epochs that are missing, by new workers where some were lost.

        Raises:
            ConfigError: Workers died again and again.
        """
        num_losses = 0
        while not self._is_over:
            done = len(self.history)
            try:
                with tail_group.start(ray, self.job, devices, done) as group:
                    while not self._is_over:
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
        if not math.isfinite(metrics["loss"]):
            raise TrainingError(
                f"The phase {self.name!r} diverged: its loss was {metrics['loss']} in epoch "
                f"{number + 1}. Lower the phase's learning_rate, or set warmup and "
                "global_clipnorm, and choose another checkpoint folder."
            )
        history = (*self.history, {**metrics, "learning_rate": rate})
        kept = (number, self._find_best(history))
        group.call_first("save", number + 1, self._values(history), kept)
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
        """
        best = self._find_best(self.history)
        state = state_files.read(self.job.states, best)
        if state is None:
            raise StoreError(
                f"The checkpoint of epoch {best} in '{self.job.states}' is damaged. Delete the "
                "folder to train from the start."
            )
        before = verification.hash_weights(model)
        set_model(model, state.arrays)
        reset_calibration(model)
        return PhaseRun(
            name=self.name,
            history=to_columns(self.history),
            seconds=self._total_seconds,
            best_epoch=best,
            movement=verification.verify_movement(model, self.job.frozen.plan(model), before),
        )

    def _values(self, history: tuple[dict[str, float], ...]) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "history": list(history),
            "seconds": self._total_seconds,
        }

    @property
    def _total_seconds(self) -> float:
        return self.seconds + time.perf_counter() - self._started

    def _find_best(self, history: tuple[dict[str, float], ...]) -> int:
        """Return the epoch, from 1, whose weights are the result: the last one, or the best."""
        phase = self.job.phase
        if phase.patience is None:
            return len(history)
        sign = -1 if phase.monitor.endswith("accuracy") else 1
        values = [sign * epoch[phase.monitor] for epoch in history]
        return 1 + values.index(min(values))

    @property
    def _is_over(self) -> bool:
        phase, done = self.job.phase, len(self.history)
        if phase.patience is None or not done:
            return done >= phase.epochs
        waited = done - self._find_best(self.history)
        return done >= phase.epochs or waited >= max(phase.patience, 1)
