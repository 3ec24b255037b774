"""Train one phase: fit it, restore its best weights, and verify which weights changed."""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from tlkit._internal.variables import seed_layers
from tlkit.caching.plan import FrozenPart
from tlkit.data.batches import Inputs
from tlkit.models import freezing
from tlkit.training import head_solver, inputs, progress, verification
from tlkit.training.checkpoints import Checkpoints, PhaseCheckpoints
from tlkit.training.divergence import StopOnDivergence, measure_baseline, warn_of_divergence
from tlkit.training.fit import EpochRecorder, compile_phase, fit_tail, fit_whole
from tlkit.training.losses import find_form, find_mode
from tlkit.training.phase import Phase, SolvedHead
from tlkit.training.records import PhaseRun, to_columns


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """The result of fitting a phase.

    Attributes:
        epochs: The metrics of each epoch.
        best_epoch: The epoch whose weights the model has, from 1; 0 means before the phase.
        diverged: The epoch in which the phase diverged, from 1; None without divergence.
        interrupted: Whether Ctrl-C stopped the phase.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int = 1
    diverged: int | None = None
    interrupted: bool = False


def run_phase(
    model: keras.Model,
    phase: Phase | SolvedHead,
    plan: freezing.FreezePlan,
    data: Inputs,
    *,
    name: str,
    validation_data: Inputs | None,
    seed: int | None,
    part: FrozenPart | None,
    verbose: bool,
    is_last: bool,
    checkpoints: Checkpoints | None = None,
) -> PhaseRun:
    """Freeze, compile and train one phase in place, and verify which weights changed.

    Args:
        model: The classifier.
        phase: The phase.
        plan: The freeze plan of the phase.
        data: Images and labels in one form, checked.
        name: The phase's name in the history.
        validation_data: Images and labels that are evaluated after every epoch; as `data`.
        seed: Seeds this process and the layers of the augmentation; None sets no seed.
        part: The frozen part, whose features are cached; None runs the whole model.
        verbose: Whether to print a line for every epoch.
        is_last: Whether no other phase follows.
        checkpoints: Saves the state after each epoch, and has the state to resume from; None saves
            no state.

    Raises:
        PhaseInterrupted: Ctrl-C stopped a phase that trains by gradients.
        TrainingError: A frozen weight changed, or a layer to be trained did not.
    """
    soften = partial(inputs.soften_labels, layers=phase.augmentation, model=model)
    data = soften(data)
    if validation_data is not None:
        validation_data = soften(validation_data, name="validation_data")
    _seed_and_compile(model, phase, plan, data, seed=seed)
    lines = progress.EpochLines(name) if verbose else None
    before = verification.hash_weights(model)
    saved = None
    if checkpoints is not None and isinstance(phase, Phase):
        saved = checkpoints.start_phase(before, phase.augmentation)
        before = saved.before
    started = time.perf_counter() - (0.0 if saved is None else saved.seconds)
    how: dict[str, Any] = {"validation_data": validation_data, "part": part}
    if isinstance(phase, SolvedHead):
        how |= {"is_last": is_last, "verbose": verbose}
        epochs = head_solver.fit_head(model, phase, data, seed=seed, **how)
        fitted = _Fitted(epochs=epochs)
    else:
        fitted = _fit(model, phase, plan, data, lines=lines, saved=saved, **how)
    seconds = time.perf_counter() - started
    if lines is not None and isinstance(phase, SolvedHead):
        lines.write_solution(head_solver.solver_of(model, phase), fitted.epochs[0], seconds)
    if fitted.diverged is not None:
        loss = fitted.epochs[fitted.diverged - 1]["loss"]
        warn_of_divergence(name, fitted.diverged, loss=loss, best_epoch=fitted.best_epoch)
    is_trained = isinstance(phase, Phase) and fitted.best_epoch > 0 and not fitted.interrupted
    run = PhaseRun(
        name=name,
        history=to_columns(fitted.epochs),
        seconds=seconds,
        best_epoch=fitted.best_epoch,
        diverged=fitted.diverged,
        movement=verification.verify_movement(model, plan, before, trained=is_trained),
        trunk=None if part is None else part.extraction.summarize(part.cut),
        out_of_time=any(getattr(each, "ran_out", False) for each in phase.callbacks),  # a Deadline
    )
    if fitted.interrupted:
        raise PhaseInterrupted(run)
    return run


class PhaseInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a phase; `run` holds its finished epochs."""

    def __init__(self, run: PhaseRun) -> None:
        super().__init__()
        self.run = run


def _seed_and_compile(
    model: keras.Model,
    phase: Phase | SolvedHead,
    plan: freezing.FreezePlan,
    data: Inputs,
    *,
    seed: int | None,
) -> None:
    if seed is not None:
        keras.utils.set_random_seed(seed)
        seed_layers(phase.augmentation, seed)
    if isinstance(phase, SolvedHead):
        head_solver.compile_head(model, plan, data)
    else:
        compile_phase(model, phase, plan, data)


def _fit(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    data: Inputs,
    *,
    validation_data: Inputs | None,
    part: FrozenPart | None,
    lines: progress.EpochLines | None,
    saved: PhaseCheckpoints | None,
) -> _Fitted:
    """Train a phase by gradients, until its epochs, patience, divergence or Ctrl-C end it."""
    stopper = _create_stopper(model, phase, data)
    guard = StopOnDivergence(measure_baseline(model, phase, plan, data))
    # The guard restores weights last: the stopper's best epoch may be one that diverged.
    recorder = EpochRecorder()
    extra = [callback for callback in (stopper, guard, recorder) if callback is not None]
    shown = [] if lines is None else [lines]
    fit = fit_whole if part is None else partial(fit_tail, part=part)
    quiet = nullcontext() if saved is None else saved.hide_short_epoch()
    try:
        with quiet:
            fit(
                model,
                phase,
                plan,
                data,
                validation_data=validation_data,
                extra=extra,
                saved=saved,
                shown=shown,  # last, so that an epoch is saved before its line is printed
            )
    except KeyboardInterrupt:
        done = tuple(recorder.epochs)
        return _Fitted(epochs=done, best_epoch=len(done), interrupted=True)
    finally:
        if lines is not None:
            lines.close()  # on an error or an interrupt, Keras does not call its callbacks
    epochs = tuple(recorder.epochs)
    if guard.diverged is not None:
        return _Fitted(epochs=epochs, best_epoch=guard.best_epoch, diverged=guard.diverged)
    best_epoch = len(epochs) if stopper is None else stopper.best_epoch + 1
    return _Fitted(epochs=epochs, best_epoch=best_epoch)


def _create_stopper(
    model: keras.Model, phase: Phase, data: Inputs
) -> keras.callbacks.EarlyStopping | None:
    """Return the callback that ends a phase after its patience; None without patience."""
    if phase.patience is None:
        return None
    form = find_form(model, data)
    return keras.callbacks.EarlyStopping(
        monitor=phase.monitor,
        patience=phase.patience,
        mode=find_mode(phase, num_classes=model.output_shape[-1], form=form),
        restore_best_weights=True,
    )
