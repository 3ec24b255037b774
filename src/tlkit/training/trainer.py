"""Train a classifier in two phases: first the head, then the end of the backbone with it."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras

from tlkit._internal import arguments
from tlkit._internal.variables import seed_layers
from tlkit.caching import plan as caching_plan
from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.plan import FrozenPart
from tlkit.caching.progress import CacheProgress
from tlkit.data.augmentation import mixes_labels
from tlkit.data.batches import Data, Inputs, describe
from tlkit.data.checked_batches import CheckedBatches
from tlkit.data.checks import LabelForm
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import ConfigError, DataError
from tlkit.models import freezing
from tlkit.models.inspection import head_of, probabilities_of, value_range
from tlkit.training import class_weights, head_solver, inputs, progress, verification
from tlkit.training.divergence import StopOnDivergence, measure_baseline
from tlkit.training.fit import compile_phase, count_steps, fit_tail, fit_whole
from tlkit.training.losses import check_loss_and_metrics, find_form, find_mode, fit_metrics
from tlkit.training.phase import Phase, SolvedHead, plan_freezing
from tlkit.training.records import PhaseRun, Run, to_columns


@dataclass(frozen=True, kw_only=True)
class TwoPhaseTrainer:
    """Trains a new head on a frozen backbone, then fine-tunes the end of the backbone with it.

    The trainer sets `trainable` and compiles. After each phase it verifies that frozen weights and
    moving statistics are unchanged to the bit, and that every layer to be trained has changed.

    Attributes:
        head: The first phase. A Phase freezes the whole backbone by default; a SolvedHead always
            does.
        fine_tune: The second phase; its `freeze` selects what stays frozen. None omits the phase.
        seed: Seeds Python, NumPy and Keras for the whole process at the start of each phase, and
            the layers of its augmentation, so that the result of a phase does not depend on what
            ran before it. (A Dropout layer has a seed of its own.) None sets no seed.
        cache: How the frozen part is run once and its features are stored, for both phases. None
            turns the cache off: Keras' fit then runs the whole model in every epoch.

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
                "`fine_tune` must leave some of the backbone to train. Set what it freezes, for "
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
        """Train the model in place, and return the history of its phases.

        Args:
            model: A classifier from build_classifier.
            data: Images and labels in any form (`tlkit.data.Data`): an `ImageDataset`, a pair
                `(images, labels)` of arrays, or a dataset of such batches. Labels are integers
                `(count,)` or one-hot `(count, classes)`; for a multi-label classifier, rows of 0
                and 1 `(count, classes)`.
            validation_data: Images and labels, in any form, that are evaluated after every epoch.
            verbose: Whether to write a line for every epoch.

        Raises:
            ConfigError: A phase does not fit the model; raised before the first one starts.
            DataError: Images or labels don't fit the model.
            TrainingError: A frozen weight changed, or a layer to be trained did not.

        Warns:
            UserWarning: A phase diverged, and the best weights before that were restored.
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
    """Freeze, compile and train one phase in place, and verify which weights changed.

    For any other number of phases than two. Arguments and errors are those of
    `TwoPhaseTrainer.fit`; `name` is the phase's name in the history.
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
    data: Data,
    *,
    validation_data: Data | None,
    seeds: Sequence[int | None],
    cache: Cache | None,
    verbose: bool,
) -> tuple[PhaseRun, ...]:
    """Check all phases, then train one after the other on one pass of the frozen part."""
    plans = {name: _plan(model, phase) for name, phase in phases.items()}
    for phase in phases.values():  # before the first one has taken its time
        if isinstance(phase, SolvedHead):
            head_of(model)
        else:
            _early_stopping(phase, validation_data)
    train, held_out = _validate_both(model, data, validation_data)
    for phase, seed in zip(phases.values(), seeds, strict=True):
        _check_phase(model, phase, inputs.soften_labels(train, phase.augmentation, model))
        if seed is not None:  # the cache draws its augmented copies from this state
            seed_layers(phase.augmentation, seed)
    form = find_form(model, train)
    phases = {
        name: fit_metrics(phase, form) if isinstance(phase, Phase) else phase
        for name, phase in phases.items()
    }
    probabilities = probabilities_of(model)  # what was fitted to the untrained model
    probabilities.temperature, probabilities.thresholds = 1.0, None
    probabilities.stored.clear()
    lines = CacheProgress(verbose=verbose)
    pixels, num_classes = value_range(model), model.output_shape[-1]
    lines.print(f"data: {describe(train, value_range=pixels, num_classes=num_classes)}")
    for notice in data.notices if isinstance(data, ImageDataset) else ():
        lines.print(f"data: {notice}")
    if cache is not None and _can_cache(phases, plans, cache):
        train, held_out, batch_size = caching_plan.fix_order(
            train, held_out, cache=cache, progress=lines
        )
        if batch_size is not None:
            phases = {name: replace(each, batch_size=batch_size) for name, each in phases.items()}
    phases = {
        name: class_weights.set_balanced(phase, train, num_classes)
        for name, phase in phases.items()
    }
    augmentations = {name: phase.augmentation for name, phase in phases.items()}
    parts = caching_plan.find_frozen_parts(
        model, plans, augmentations, train, validation_data=held_out, cache=cache, progress=lines
    )
    try:
        return tuple(
            _train(
                model,
                phase,
                plans[name],
                inputs.soften_labels(train, phase.augmentation, model),
                name=name,
                validation_data=held_out
                if held_out is None
                else inputs.soften_labels(held_out, phase.augmentation, model, "validation_data"),
                seed=seed,
                part=parts[name],
                verbose=verbose,
                is_last=name == [*phases][-1],
            )
            for (name, phase), seed in zip(phases.items(), seeds, strict=True)
        )
    finally:
        caching_plan.close_all(parts.values())
        lines.close()


def _check_phase(model: keras.Model, phase: Phase | SolvedHead, data: Inputs) -> None:
    """Check what a phase needs of the data, before the first phase has taken its time."""
    inputs.check_augmentation(model, phase.augmentation, data)
    class_weights.refuse_multi_label(phase, model)
    if not isinstance(phase, Phase):
        return
    count_steps(data, phase)
    form = find_form(model, data)
    check_loss_and_metrics(phase, num_classes=model.output_shape[-1], form=form)
    if phase.class_weight is not None and mixes_labels(phase.augmentation):
        raise ConfigError(
            "`class_weight` must be left out with MixUp and CutMix: a mixed image has no class."
        )
    if phase.class_weight is not None and isinstance(data, CheckedBatches) and data.has_weights:
        raise ConfigError(
            "`class_weight` must be left out where `data` has image weights: Keras takes one of "
            "both. Multiply the image weights by the class weights."
        )


def _can_cache(
    phases: Mapping[str, Phase | SolvedHead], plans: Mapping[str, freezing.FreezePlan], cache: Cache
) -> bool:
    """Return whether a phase has a frozen part that gives the same features in each epoch."""
    return any(
        plans[name].frozen
        and (cache.views > 1 or not phase.augmentation)
        and not mixes_labels(phase.augmentation)
        for name, phase in phases.items()
    )


def _train(
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
) -> PhaseRun:
    lines = progress.EpochLines(name) if verbose else None
    if seed is not None:
        keras.utils.set_random_seed(seed)
        seed_layers(phase.augmentation, seed)
    if isinstance(phase, SolvedHead):
        head_solver.compile_head(model, plan, data)
    else:
        compile_phase(model, phase, plan, data)
    before = verification.hash_weights(model)
    started = time.perf_counter()
    best_epoch, diverged = 1, None
    if isinstance(phase, SolvedHead):
        epochs = head_solver.fit_head(
            model,
            phase,
            data,
            validation_data=validation_data,
            part=part,
            seed=seed,
            is_last=is_last,
        )
    else:
        epochs, best_epoch, diverged = _fit(
            model, phase, plan, data, validation_data=validation_data, part=part, lines=lines
        )
    seconds = time.perf_counter() - started
    if lines is not None and isinstance(phase, SolvedHead):
        lines.write_solution(phase.solver, epochs[0], seconds)
    if diverged is not None:
        _warn_of_divergence(name, epochs[diverged - 1]["loss"], diverged, best_epoch)
    return PhaseRun(
        name=name,
        history=to_columns(epochs),
        seconds=seconds,
        best_epoch=best_epoch,
        diverged=diverged,
        movement=verification.verify_movement(
            model, plan, before, trained=best_epoch > 0 and isinstance(phase, Phase)
        ),
        trunk=None if part is None else part.extraction.summarize(part.cut),
    )


def _fit(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    data: Inputs,
    *,
    validation_data: Inputs | None,
    part: FrozenPart | None,
    lines: progress.EpochLines | None,
) -> tuple[tuple[dict[str, float], ...], int, int | None]:
    """Train a phase; return its epochs' metrics, its best epoch, and the one that diverged."""
    stopper = _early_stopping(phase, validation_data)
    if stopper is not None:
        classes, form = model.output_shape[-1], find_form(model, data)
        stopper.mode = find_mode(phase, num_classes=classes, form=form)
    guard = StopOnDivergence(measure_baseline(model, phase, plan, data))
    # The guard restores weights last: the stopper's best epoch may be one that diverged.
    extra = [callback for callback in (stopper, guard, lines) if callback is not None]
    fit = fit_whole if part is None else partial(fit_tail, part=part)
    try:
        epochs = fit(model, phase, plan, data, validation_data=validation_data, extra=extra)
    finally:
        if lines is not None:
            lines.close()  # on an error or an interrupt, Keras does not call its callbacks
    if guard.diverged is not None:
        return epochs, guard.best_epoch, guard.diverged
    return epochs, len(epochs) if stopper is None else stopper.best_epoch + 1, None


def _warn_of_divergence(name: str, loss: float, epoch: int, best: int) -> None:
    where = f"those of epoch {best}" if best else "those from before the phase"
    warnings.warn(
        f"The phase {name!r} diverged: its loss was {loss:.4g} in epoch {epoch}. The best weights "
        f"were restored, {where}. Lower the phase's learning_rate, or set warmup and "
        "global_clipnorm.",
        stacklevel=4,
    )


def _validate_both(
    model: keras.Model,
    data: Data,
    validation_data: Data | None,
) -> tuple[Inputs, Inputs | None]:
    inputs.adopt_class_names(model, data)
    train = inputs.validate(data, model, uses_weights=True)
    if validation_data is None:
        return train, None
    held_out = inputs.validate(validation_data, model, "validation_data", uses_weights=True)
    _check_same_form(find_form(model, train), find_form(model, held_out))
    return train, held_out


def _plan(model: keras.Model, phase: Phase | SolvedHead) -> freezing.FreezePlan:
    """Return what the phase freezes, after checking it against the model; changes nothing."""
    plan = plan_freezing(model, phase)
    if phase.class_weight != "balanced":
        phase.weigh_classes(model.output_shape[-1])
    if isinstance(phase, SolvedHead):
        return plan
    fixed = {id(weight) for norm in plan.frozen_batchnorm for weight in norm.weights}
    left = {id(weight) for layer in plan.trained for weight in layer.weights} - fixed
    if not left and phase.freeze is not freezing.everything:
        raise ConfigError(
            f"`freeze` must leave weights of {plan.backbone.name} to train, got a selection of "
            f"{len(plan.frozen)} of its {len(plan.backbone.layers)} layers that leaves none. "
            "Freeze fewer, or use tlkit.freezing.everything to train the head alone."
        )
    return plan


def _check_same_form(form: LabelForm, validation_form: LabelForm) -> None:
    if form != validation_form:
        raise DataError(
            f"`validation_data` labels must have the form of the training labels, {form}, "
            f"got {validation_form}. tlkit.data.one_hot makes integers one-hot."
        )


def _early_stopping(
    phase: Phase, validation_data: object | None
) -> keras.callbacks.Callback | None:
    if phase.patience is None:
        return None
    if validation_data is None and phase.monitor.startswith("val_"):
        raise ConfigError(
            f"`patience` needs `validation_data`, because it watches {phase.monitor!r}."
        )
    return keras.callbacks.EarlyStopping(
        monitor=phase.monitor, patience=phase.patience, restore_best_weights=True
    )
