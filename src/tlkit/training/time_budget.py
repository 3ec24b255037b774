"""Train a phase within a time budget, with a learning rate that reaches 0 at its end."""

import itertools
import math
import statistics
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal.variables import restore_on_exit
from tlkit.caching.cache import Cache
from tlkit.data.batches import Arrays, Data
from tlkit.training import checkpoints
from tlkit.training.checkpoint_files import CheckpointFolder
from tlkit.training.inputs import validate_arrays
from tlkit.training.phase import Phase
from tlkit.training.records import PhaseRun
from tlkit.training.trainer import train_phase

_TIMED_STEPS = 10  # in each of two epochs
_MIN_TIMED, _SECONDS_TIMED = 5, 2.0  # fewer steps are timed if each of them is slow
_MIN_STEPS = 2  # the first step of a warm-up has a learning rate of 0
_END_RESERVE = 3.0  # times the seconds from the last timed step to the end


def train_within(
    model: keras.Model,
    phase: Phase,
    data: Data,
    *,
    name: str,
    seconds: float,
    seed: int,
    cache: Cache | None,
    checkpoint: Path | None = None,
    verbose: bool,
) -> PhaseRun | None:
    """Train a phase until its epochs or its time are over, if at least one epoch fits.

    A few steps are timed first and undone. A cosine schedule follows the time, not the steps.
    If the checkpoint is of a phase that was stopped or ran out of time, the phase resumes from it.

    Args:
        model: As for train_phase.
        phase: The phase; its epochs are an upper limit.
        data: Images and labels in any form.
        name: The phase's name.
        seconds: The time for the timed steps and for training.
        seed: As for train_phase.
        cache: As for train_phase.
        checkpoint: As for train_phase.
        verbose: As for train_phase.

    Returns:
        The result of the phase, whose last epoch may be incomplete; None if not one epoch fits.
    """
    until = time.perf_counter() + seconds
    folder = None if checkpoint is None else CheckpointFolder(checkpoint)
    measured = _reopen(folder, seconds)
    if seconds <= 0 and not measured:
        return None
    arrays = validate_arrays(data, model)
    if not measured:
        measured = _measure(model, phase, arrays, until=until, cache=cache)
        if not measured:
            return None
        if folder is not None:
            folder.write_notes(measured)
    until -= measured["reserve"]
    phase = replace(phase, warmup=measured["warmup"])
    clocks: list[keras.callbacks.Callback] = [Deadline(until)]
    if phase.schedule == "cosine":
        clocks.append(TimedCosine(until, phase, steps=-(-len(arrays[0]) // phase.batch_size)))
        phase = replace(phase, schedule="constant", warmup=0.0)
    return train_phase(
        model,
        replace(phase, callbacks=(*phase.callbacks, *clocks)),
        arrays,
        name=name,
        seed=seed,
        cache=cache,
        checkpoint=checkpoint,
        verbose=verbose,
    )


def _reopen(folder: CheckpointFolder | None, seconds: float) -> dict[str, float]:
    """Return the measurements of a phase that was begun before; empty if there are none.

    If the phase ran out of time, and there is time now, it resumes after its last epoch.
    """
    if folder is None:
        return {}
    finished, _ = checkpoints.read_finished(folder)
    if finished and finished[0].out_of_time and seconds > 0:
        folder.drop_last()
    notes = folder.read_notes()
    is_whole = all(isinstance(notes.get(name), float) for name in ("reserve", "warmup"))
    return notes if is_whole else {}


def _measure(
    model: keras.Model, phase: Phase, data: Arrays, *, until: float, cache: Cache | None
) -> dict[str, float]:
    """Return the seconds to reserve for the end, and the warm-up; empty if no epoch fits."""
    start, epoch, end = _time_steps(model, phase, data, cache=cache)
    reserve = _END_RESERVE * end
    epochs = (until - reserve - time.perf_counter() - start) / epoch
    if epochs < 1:
        return {}
    return {"reserve": reserve, "warmup": float(min(phase.warmup, epochs / 2, phase.epochs / 2))}


class Deadline(keras.callbacks.Callback):
    """Stops training before a step that would end after a deadline, judging by the previous step.

    Args:
        until: The deadline, in seconds of `time.perf_counter`.

    Attributes:
        ran_out: Whether training was stopped before the last step.
    """

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until
        self.ran_out = False

    def get_state(self) -> dict[str, Any]:
        """Return an empty state, since another process has another deadline."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Keep the deadline of this process."""

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start counting steps."""
        self._before, self._done = time.perf_counter(), 0
        self.ran_out, self._is_last = False, False

    @override
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note whether it is the last epoch."""
        self._is_last = epoch + 1 == self.params["epochs"]

    @override
    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop if there is no time for another step."""
        now = time.perf_counter()
        self._done += 1
        if now + (now - self._before) > self._until and self._done >= _MIN_STEPS:
            self.model.stop_training = True
            self.ran_out = not (self._is_last and batch + 1 == self.params["steps"])
        self._before = now


# Annealing over time: a cosine schedule must end at 0 when training ends. But the number of steps
# that fit into a time budget is not known in advance, since the speed of a few timed steps is only
# a guess. So the schedule follows the clock: its progress is the share of the time since warm-up
# that has passed, or the share of the planned steps that are done, whichever is larger. It reaches
# 0 at the deadline, or at the last planned step if that comes first (Li et al., 2019,
# arXiv:1905.04753).
class TimedCosine(keras.callbacks.Callback):
    """Raises the learning rate during warm-up, then lowers it to 0 along a cosine by a deadline.

    Args:
        until: The deadline, in seconds of `time.perf_counter`.
        phase: The phase, for its highest learning rate, its warm-up and its epochs.
        steps: The number of steps in an epoch.
    """

    def __init__(self, until: float, phase: Phase, *, steps: int) -> None:
        super().__init__()
        self._until = until
        self._highest = float(keras.ops.convert_to_numpy(phase.create_optimizer().learning_rate))
        self._warmup = round(phase.warmup * steps)
        self._steps = phase.epochs * steps
        self._step, self._warm_at = 0, 0.0

    def get_state(self) -> dict[str, Any]:
        """Return the number of steps, and the seconds since the warm-up."""
        return {"step": self._step, "seconds": time.perf_counter() - self._warm_at}

    def set_state(self, state: dict[str, Any]) -> None:
        """Resume after a step; the time since then is not counted."""
        self._step, self._warm_at = state["step"], time.perf_counter() - state["seconds"]

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reset to the first step."""
        self._step, self._warm_at = 0, time.perf_counter()

    @override
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the step's learning rate."""
        now = time.perf_counter()
        if self._step < self._warmup:
            share = self._step / self._warmup
        else:
            if self._step == self._warmup:
                self._warm_at = now
            share = (1 + math.cos(math.pi * self._progress(now))) / 2
        self.model.optimizer.learning_rate = self._highest * share
        self._step += 1

    def _progress(self, now: float) -> float:
        """Return the share of the cosine that is done, by steps or by time, from 0 to 1."""
        steps = (self._step - self._warmup) / (self._steps - self._warmup)
        seconds = (now - self._warm_at) / (self._until - self._warm_at)
        return min(max(steps, seconds), 1.0)


def _time_steps(
    model: keras.Model, phase: Phase, data: Arrays, *, cache: Cache | None
) -> tuple[float, float, float]:
    """Return the seconds of a phase's start, of one epoch and of its end; restores the model."""
    started = time.perf_counter()
    images, labels = data
    few = min(_TIMED_STEPS * phase.batch_size, len(images))
    marks: list[float] = []

    def mark(*_: Any, **__: Any) -> None:
        marks.append(time.perf_counter())
        if len(marks) >= _MIN_TIMED and marks[-1] - marks[0] > _SECONDS_TIMED:
            clock.model.stop_training = True

    clock = keras.callbacks.LambdaCallback(on_train_batch_end=mark)
    with restore_on_exit(model.variables), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # these steps may diverge: they are undone
        train_phase(
            model,
            replace(phase, epochs=2, warmup=0.0, callbacks=(clock,)),
            (images[:few], labels[:few]),
            cache=cache,
            verbose=False,
        )
        end = time.perf_counter() - marks[-1]
    durations = [after - before for before, after in itertools.pairwise(marks)]
    steps = -(-len(images) // phase.batch_size)
    epoch = statistics.median(durations or [marks[0] - started]) * steps
    return marks[0] - started, epoch, end
