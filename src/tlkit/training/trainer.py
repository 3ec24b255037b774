"""Train a classifier in two phases, the head and then the tail."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import keras

from tlkit._internal import arguments
from tlkit._internal.variables import seed_layers
from tlkit.caching import plan as frozen
from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.plan import FrozenPart
from tlkit.caching.progress import TrunkLines
from tlkit.data.batches import Data, Inputs
from tlkit.errors import ConfigError, DataError
from tlkit.models import freezing
from tlkit.models.inspection import head_of, probabilities_of
from tlkit.training import head_solver, inputs, progress, verification
from tlkit.training.divergence import StopOnDivergence, measure_baseline
from tlkit.training.fit import compile_phase, count_steps, fit_tail, fit_whole
from tlkit.training.losses import has_one_hot
from tlkit.training.phase import Phase, SolvedHead, plan_freezing
from tlkit.training.records import PhaseRun, Run, to_columns


@dataclass(frozen=True, kw_only=True)
class TwoPhaseTrainer:
    """Trains a new head on a frozen backbone, then the backbone's tail with it.

    It alone compiles and sets `trainable`. After each phase it proves that the frozen weights and
    moving statistics are bit for bit what they were, and that every chosen layer moved.

    Attributes:
        head: The first phase. A Phase freezes the whole backbone by default; a SolvedHead always
            does.
        fine_tune: The second phase; its `freeze` says what stays frozen. None leaves it out.
        seed: Seeds Python, NumPy and Keras for the whole process at the start of each phase, and
            the layers of its augmentation, so that a phase comes out the same whatever ran before
            it. (A Dropout layer keeps a seed of its own, which goes on.) None leaves chance alone.
        cache: How the frozen part is run once and kept, for both phases. None is the switch that
            turns all of that off: Keras' own fit then runs the whole model in every epoch.

    Raises:
        ConfigError: A phase freezes everything that it could train.

    Examples:
        >>> trainer = TwoPhaseTrainer(head=Phase(epochs=10))
        >>> trainer.head.batch_size
        32
    """

    head: Phase | SolvedHead
    fine_tune: Phase | None = None
    seed: int | None = None
    cache: Cache | None = DEFAULT

    def __post_init__(self) -> None:
        if self.seed is not None:
            arguments.at_least("seed", self.seed, 0)
        tuned = self.fine_tune
        if isinstance(tuned, SolvedHead) or (tuned and tuned.freeze is freezing.everything):
            raise ConfigError(
                "`fine_tune` must leave some of the backbone to train: say what it freezes, for "
                "example Phase(..., freeze=tlkit.freezing.first(100)) or tlkit.freezing.nothing."
            )

    def fit(
        self,
        model: keras.Model,
        data: Data,
        *,
        validation_data: Data | None = None,
        verbose: bool = True,
    ) -> Run:
        """Train the model in place, and return what happened.

        Args:
            model: A classifier from build_classifier.
            data: Images and labels in any form (`tlkit.data.Data`): an `ImageDataset`, a pair
                `(images, labels)` of arrays, or a dataset of such batches. Labels are integers
                `(count,)` or one-hot `(count, classes)`.
            validation_data: Images and labels, in any form, that are evaluated after every epoch.
            verbose: Whether to write a line for every epoch.

        Raises:
            ConfigError: A phase does not fit the model; told before the first one starts.
            DataError: Images or labels don't fit the model.
            TrainingError: A phase did not move what it was to move and that alone.

        Warns:
            UserWarning: A phase diverged; the model has the best weights it had before.
        """
        named: dict[str, Phase | SolvedHead] = {"head": self.head}
        if self.fine_tune is not None:
            named["fine_tune"] = self.fine_tune
        runs = _train_all(
            model,
            named,
            data,
            validation_data=validation_data,
            seeds=[None if self.seed is None else self.seed + order for order in range(len(named))],
            cache=self.cache,
            verbose=verbose,
        )
        return Run(phases=runs)


def train_phase(
    model: keras.Model,
    phase: Phase | SolvedHead,
    data: Data,
    *,
    name: str = "phase",
    validation_data: Data | None = None,
    seed: int | None = None,
    cache: Cache | None = DEFAULT,
    verbose: bool = True,
) -> PhaseRun:
    """Freeze, compile and train one phase in place, and prove what moved.

    TwoPhaseTrainer is made of this; call it for another number of phases. Arguments and errors
    are those of `TwoPhaseTrainer.fit`; `name` is what the phase is called in the history.
    """
    [run] = _train_all(
        model,
        {name: phase},
        data,
        validation_data=validation_data,
        seeds=[seed],
        cache=cache,
        verbose=verbose,
    )
    return run


def _train_all(
    model: keras.Model,
    phases: Mapping[str, Phase | SolvedHead],
    given: Data,
    *,
    validation_data: Data | None,
    seeds: Sequence[int | None],
    cache: Cache | None,
    verbose: bool,
) -> tuple[PhaseRun, ...]:
    """Train phase after phase on one pass of the frozen part, all of them checked first."""
    plans = {name: _plan(model, phase) for name, phase in phases.items()}
    for phase in phases.values():  # an error in the second must not cost the first
        if isinstance(phase, SolvedHead):
            head_of(model)
        else:
            _early_stopping(phase, validation_data)
    data, held_out = _validate_both(model, given, validation_data)
    for phase, seed in zip(phases.values(), seeds, strict=True):
        if isinstance(phase, Phase):
            count_steps(data, phase)
        if seed is not None:  # kept copies are drawn from where the layers are now
            seed_layers(phase.augmentation, seed)
    probabilities_of(model).temperature = 1.0  # it was fitted to the model as it was before
    lines = TrunkLines(verbose=verbose)
    augmentations = {name: phase.augmentation for name, phase in phases.items()}
    parts = frozen.parts(model, plans, augmentations, data, held_out, cache=cache, lines=lines)
    try:
        return tuple(
            _train(
                model,
                phase,
                data,
                name=name,
                validation_data=held_out,
                seed=seed,
                part=parts[name],
                verbose=verbose,
            )
            for (name, phase), seed in zip(phases.items(), seeds, strict=True)
        )
    finally:
        frozen.close(parts.values())
        lines.close()


def _train(
    model: keras.Model,
    phase: Phase | SolvedHead,
    data: Inputs,
    *,
    name: str,
    validation_data: Inputs | None,
    seed: int | None,
    part: FrozenPart | None,
    verbose: bool,
) -> PhaseRun:
    plan = _plan(model, phase)
    lines = progress.EpochLines(name) if verbose else None
    if seed is not None:
        keras.utils.set_random_seed(seed)
        seed_layers(phase.augmentation, seed)
    guard = stopper = None
    if isinstance(phase, SolvedHead):
        head_solver.compile_head(model, plan, data)
    else:
        compile_phase(model, phase, plan, data)
    before = verification.fingerprints(model)
    started = time.perf_counter()
    if isinstance(phase, SolvedHead):
        epochs = head_solver.fit_head(
            model, phase, data, validation_data=validation_data, part=part, seed=seed
        )
    else:
        stopper = _early_stopping(phase, validation_data)
        guard = StopOnDivergence(measure_baseline(model, phase, plan, data))
        # the guard goes back last: what the stopper thinks best may be what diverged
        extra = [callback for callback in (stopper, guard, lines) if callback is not None]
        fit = fit_whole if part is None else partial(fit_tail, part=part)
        try:
            epochs = fit(model, phase, plan, data, validation_data=validation_data, extra=extra)
        finally:
            if lines is not None:
                lines.close()  # Keras tells callbacks nothing of an error or an interrupt
    seconds = time.perf_counter() - started
    if lines is not None and isinstance(phase, SolvedHead):
        lines.tell_solved(phase.solver, epochs[0], seconds)
    best = len(epochs) if stopper is None else stopper.best_epoch + 1
    diverged = None if guard is None else guard.diverged
    if guard is not None and diverged is not None:
        best = guard.best_epoch
        _warn_of_divergence(name, epochs[diverged - 1]["loss"], diverged, best)
    return PhaseRun(
        name=name,
        history=to_columns(epochs),
        seconds=seconds,
        best_epoch=best,
        diverged=diverged,
        movement=verification.check_movement(
            model, plan, before, moved=best > 0 and isinstance(phase, Phase)
        ),
        trunk=None if part is None else part.once.report(part.cut),
    )


def _warn_of_divergence(name: str, loss: float, epoch: int, best: int) -> None:
    where = f"those of its epoch {best}" if best else "those from before it"
    warnings.warn(
        f"The phase {name!r} diverged: its loss was {loss:.4g} in epoch {epoch}. The model has the "
        f"best weights again, {where}. Lower the phase's learning_rate, or set warmup and "
        "global_clipnorm.",
        stacklevel=4,
    )


def _validate_both(
    model: keras.Model,
    given: Data,
    validation_data: Data | None,
) -> tuple[Inputs, Inputs | None]:
    data = inputs.validate(given, model)
    if validation_data is None:
        return data, None
    held_out = inputs.validate(validation_data, model, "validation_data")
    _check_same_form(data, held_out)
    return data, held_out


def _plan(model: keras.Model, phase: Phase | SolvedHead) -> freezing.FreezePlan:
    """Return what the phase freezes, after checking it against the model; changes nothing."""
    plan = plan_freezing(model, phase)
    if isinstance(phase, SolvedHead):
        return plan
    fixed = {id(weight) for norm in plan.frozen_batchnorm for weight in norm.weights}
    left = {id(weight) for layer in plan.trained for weight in layer.weights} - fixed
    if not left and phase.freeze is not freezing.everything:
        raise ConfigError(
            f"`freeze` must leave weights of {plan.backbone.name} to train, got a selection of "
            f"{len(plan.frozen)} of its {len(plan.backbone.layers)} layers that leaves none. "
            "Freeze fewer, or say tlkit.freezing.everything to train the head alone."
        )
    classes = range(model.output_shape[-1])
    strange = [key for key in phase.class_weight or {} if key not in classes]
    if strange:
        raise ConfigError(
            f"`class_weight` must have class indices from 0 to {len(classes) - 1}, "
            f"got {strange[0]!r}."
        )
    return plan


def _check_same_form(data: Inputs, validation_data: Inputs) -> None:
    forms = ["one-hot" if has_one_hot(pairs) else "integers" for pairs in (data, validation_data)]
    if len(set(forms)) > 1:
        raise DataError(
            f"`validation_data` labels must have the form of the training labels, {forms[0]}, "
            f"got {forms[1]}. tlkit.data.one_hot makes integers one-hot."
        )


def _early_stopping(
    phase: Phase, validation_data: object | None
) -> keras.callbacks.Callback | None:
    if phase.patience is None:
        return None
    if validation_data is None and phase.monitor.startswith("val_"):
        raise ConfigError(f"`validation_data` must be given: `patience` watches {phase.monitor!r}.")
    return keras.callbacks.EarlyStopping(
        monitor=phase.monitor, patience=phase.patience, restore_best_weights=True
    )
