"""Train a phase within a time: its learning rate falls with the time, and ends with it."""

import itertools
import math
import statistics
import time
import warnings
from dataclasses import replace
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal.variables import restore_on_exit
from tlkit.caching.cache import Cache
from tlkit.data.batches import Arrays, Data
from tlkit.training.inputs import validate_arrays
from tlkit.training.phase import Phase
from tlkit.training.records import PhaseRun
from tlkit.training.trainer import train_phase

_TIMED_STEPS = 10
_FEWEST_STEPS = 2  # of which the first, in a warm-up, moves nothing
_CAUTION = 3.0  # times what ending the timed steps took is kept for ending the phase


def train_within(
    model: keras.Model,
    phase: Phase,
    data: Data,
    *,
    name: str,
    seconds: float,
    seed: int,
    cache: Cache | None,
    verbose: bool,
) -> PhaseRun | None:
    """Train a phase for as long as there is time, if a few steps that are undone say it will do.

    A cosine is one over the time, not over the steps, so that it ends where the time does: how
    fast a machine will be can't be known from a few steps (Li et al., 2019, arXiv:1905.04753,
    anneal over the budget there is).

    Args:
        model: As for train_phase.
        phase: Its epochs are the most there will be.
        data: Images and labels in any form.
        name: What the phase is called.
        seconds: What judging and training may take.
        seed: As for train_phase.
        cache: As for train_phase.
        verbose: As for train_phase.

    Returns:
        What it did, the last epoch cut short where the time was up; None where not one epoch fits.
    """
    until = time.perf_counter() + seconds
    if seconds <= 0:
        return None
    arrays = validate_arrays(data, model)
    compiling, epoch, closing = _timed(model, phase, arrays, cache=cache)
    until -= _CAUTION * closing
    fits = (until - time.perf_counter() - compiling) / epoch
    if fits < 1:
        return None
    phase = replace(phase, warmup=min(phase.warmup, fits / 2, phase.epochs / 2))
    clock = Deadline(until)
    if phase.schedule == "cosine":
        clock = Annealing(until, phase, steps=-(-len(arrays[0]) // phase.batch_size))
        phase = replace(phase, schedule="constant", warmup=0.0)
    return train_phase(
        model,
        replace(phase, callbacks=(*phase.callbacks, clock)),
        arrays,
        name=name,
        seed=seed,
        cache=cache,
        verbose=verbose,
    )


class Deadline(keras.callbacks.Callback):
    """Stops training before the step that would end after a time, if it took as long as the last.

    Args:
        until: The time, of `time.perf_counter`.
    """

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin to count."""
        self._before, self._done = time.perf_counter(), 0

    @override
    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop where there is no time for another step."""
        now = time.perf_counter()
        self._done += 1
        if now + (now - self._before) > self._until and self._done >= _FEWEST_STEPS:
            self.model.stop_training = True
        self._before = now


class Annealing(Deadline):
    """Lets the learning rate rise for some steps, then fall along a cosine to 0 at a time.

    Where the last step comes before that time, it is 0 there.

    Args:
        until: The time, of `time.perf_counter`.
        phase: Has the highest learning rate, the warm-up and the epochs.
        steps: How many an epoch has.
    """

    def __init__(self, until: float, phase: Phase, *, steps: int) -> None:
        super().__init__(until)
        self._highest = float(keras.ops.convert_to_numpy(phase.create_optimizer().learning_rate))
        self._rising = round(phase.warmup * steps)
        self._steps = phase.epochs * steps

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin at the first step."""
        super().on_train_begin(logs)
        self._step = 0

    @override
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the step's learning rate."""
        now = time.perf_counter()
        if self._step < self._rising:
            share = self._step / self._rising
        else:
            if self._step == self._rising:
                self._risen = now
            share = (1 + math.cos(math.pi * self._fallen(now))) / 2
        self.model.optimizer.learning_rate = self._highest * share
        self._step += 1

    def _fallen(self, now: float) -> float:
        """Return how far along its fall the learning rate is, by steps or by time."""
        steps = (self._step - self._rising) / (self._steps - self._rising)
        seconds = (now - self._risen) / (self._until - self._risen)
        return min(max(steps, seconds), 1.0)


def _timed(
    model: keras.Model, phase: Phase, data: Arrays, *, cache: Cache | None
) -> tuple[float, float, float]:
    """Return how long getting ready, one epoch and ending take; the model is what it was after."""
    started = time.perf_counter()
    images, labels = data
    few = min(_TIMED_STEPS * phase.batch_size, len(images))
    marks: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: marks.append(time.perf_counter())
    )
    with restore_on_exit(model.variables), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # these steps may diverge: they are undone
        train_phase(
            model,
            replace(phase, epochs=2, warmup=0.0, callbacks=(clock,)),
            (images[:few], labels[:few]),
            cache=cache,
            verbose=False,
        )
        closing = time.perf_counter() - marks[-1]
    each = [after - before for before, after in itertools.pairwise(marks)]
    steps = -(-len(images) // phase.batch_size)
    epoch = statistics.median(each or [marks[0] - started]) * steps
    return marks[0] - started, epoch, closing
