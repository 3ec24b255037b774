"""Train a phase within a time: as many epochs as fit, and a stop where that was misjudged."""

import time
import warnings
from dataclasses import replace
from typing import Any

import keras
from typing_extensions import override

from tlkit import data
from tlkit.cache import Cache
from tlkit.history import PhaseRun
from tlkit.phases import Phase
from tlkit.training import train_phase

_TIMED_STEPS = 10
_CAREFUL = 0.9  # of the time that is left; a machine is not always as fast


def train_within(
    model: keras.Model,
    phase: Phase,
    train: data.Data,
    *,
    name: str,
    seconds: float,
    seed: int,
    cache: Cache | None,
    verbose: bool,
) -> PhaseRun | None:
    """Train a phase for as many of its epochs as fit, judged by a few steps that are undone.

    Args:
        model: As for train_phase.
        phase: Its epochs are the most there will be.
        train: Arrays.
        name: What the phase is called.
        seconds: What judging and training may take.
        seed: As for train_phase.
        cache: As for train_phase.
        verbose: As for train_phase.

    Returns:
        What it did; None where not one epoch fits.

    Warns:
        UserWarning: It was slower than judged, and stopped short.
    """
    until = time.perf_counter() + seconds
    compiling, epoch = _timed(model, phase, train, cache=cache)
    left = until - time.perf_counter()
    epochs = min(int(_CAREFUL * (left - compiling) / epoch), phase.epochs)
    if epochs < 1:
        return None
    deadline = Deadline(until)
    run = train_phase(
        model,
        replace(
            phase,
            epochs=epochs,
            warmup=min(phase.warmup, epochs / 2),
            callbacks=(*phase.callbacks, deadline),
        ),
        train,
        name=name,
        seed=seed,
        cache=cache,
        verbose=verbose,
    )
    if deadline.passed:
        warnings.warn(
            f"The phase {name!r} was slower than its first steps and was stopped in epoch "
            f"{len(run.epochs)} of {epochs}: its time was used up.",
            stacklevel=3,
        )
    return run


class Deadline(keras.callbacks.Callback):
    """Stops training at a time.

    Args:
        until: The time, of `time.perf_counter`.

    Attributes:
        passed: Whether it had to.
    """

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until
        self.passed = False

    @override
    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop where the time has come."""
        if time.perf_counter() > self._until:
            self.passed = self.model.stop_training = True


def _timed(
    model: keras.Model, phase: Phase, train: data.Data, *, cache: Cache | None
) -> tuple[float, float]:
    """Return how long getting ready and one epoch take; the model is what it was afterwards."""
    started = time.perf_counter()
    kept = [(each, keras.ops.convert_to_numpy(each).copy()) for each in model.variables]
    images, labels = train
    few = min(_TIMED_STEPS * phase.batch_size, len(images))
    marks: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: marks.append(time.perf_counter()),
        on_epoch_end=lambda *_: marks.append(time.perf_counter()),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # these steps may diverge: they are undone
        train_phase(
            model,
            replace(phase, epochs=2, warmup=0.0, callbacks=(clock,)),
            (images[:few], labels[:few]),
            cache=cache,
            verbose=False,
        )
    for variable, value in kept:
        variable.assign(value)
    steps, timed = (-(-count // phase.batch_size) for count in (len(images), few))
    ready = marks[1] - started  # where the second epoch was not reached, it counts twice
    return ready, (marks[-1] - marks[-2]) * steps / timed
