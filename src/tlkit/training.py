"""Train a classifier in two phases, the head and then the tail."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from typing_extensions import override

from tlkit import _checks, data, freezing, progress, proof
from tlkit.batchnorm import ReestimateBatchNorm
from tlkit.classifier import backbone_of, image_range
from tlkit.errors import ConfigError, DataError, TrainingError
from tlkit.history import PhaseRun, Run
from tlkit.phases import Phase


@dataclass(frozen=True, kw_only=True)
class TwoPhaseTrainer:
    """Trains a new head on a frozen backbone, then the backbone's tail with it.

    It alone compiles and sets `trainable`. After each phase it proves that the frozen weights and
    moving statistics are bit for bit what they were, and that every chosen layer moved.

    Attributes:
        head: The first phase; a Phase freezes the whole backbone unless it says otherwise.
        fine_tune: The second phase; its `freeze` says what stays frozen. None leaves it out.
        seed: Seeds Python, NumPy and Keras for the whole process at the start of each phase, so
            that a phase comes out the same whatever ran before it. (A Dropout layer keeps a seed
            of its own, which goes on.) None leaves chance alone.

    Raises:
        ConfigError: A phase freezes everything that it could train.

    Examples:
        >>> trainer = TwoPhaseTrainer(head=Phase(epochs=10))
        >>> trainer.head.batch_size
        32
    """

    head: Phase
    fine_tune: Phase | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None:
            _checks.at_least("seed", self.seed, 0)
        if self.fine_tune is not None and self.fine_tune.freeze is freezing.everything:
            raise ConfigError(
                "`fine_tune` must leave some of the backbone to train: say what it freezes, for "
                "example Phase(..., freeze=tlkit.freezing.first(100)) or tlkit.freezing.nothing."
            )

    def fit(
        self,
        model: keras.Model,
        train: data.Data,
        *,
        validation: data.Data | None = None,
        verbose: bool = True,
    ) -> Run:
        """Train the model in place, and return what happened.

        Args:
            model: A classifier from build_classifier.
            train: `(images, labels)`, or a dataset of such batches. Labels are integers
                `(count,)` or one-hot `(count, classes)`.
            validation: The same, to be measured after every epoch.
            verbose: Whether to write a line for every epoch.

        Raises:
            ConfigError: A phase does not fit the model; told before the first one starts.
            DataError: Images or labels don't fit the model.
            TrainingError: A phase diverged, or did not move what it was to move and that alone.
        """
        phases = {"head": self.head, "fine_tune": self.fine_tune}
        for phase in phases.values():
            if phase is not None:  # an error in the second must not cost the first
                _plan(model, phase)
                _early_stopping(phase, validation)
        runs = [
            train_phase(
                model,
                phase,
                train,
                name=name,
                validation=validation,
                seed=None if self.seed is None else self.seed + order,
                verbose=verbose,
            )
            for order, (name, phase) in enumerate(phases.items())
            if phase is not None
        ]
        return Run(phases=tuple(runs))


def train_phase(
    model: keras.Model,
    phase: Phase,
    train: data.Data,
    *,
    name: str = "phase",
    validation: data.Data | None = None,
    seed: int | None = None,
    verbose: bool = True,
) -> PhaseRun:
    """Freeze, compile and train one phase in place, and prove what moved.

    TwoPhaseTrainer is made of this; call it for another number of phases. Arguments and errors
    are those of `TwoPhaseTrainer.fit`; `name` is what the phase is called in the history.
    """
    plan = _plan(model, phase)
    train = _checked(train, model, "train")
    if validation is not None:
        validation = _checked(validation, model, "validation")
        _check_same_form(train, validation)
    stopper = _early_stopping(phase, validation)
    lines = progress.EpochLines(name) if verbose else None
    if seed is not None:
        keras.utils.set_random_seed(seed)
    _compile(model, phase, plan, train)
    before = proof.fingerprints(model)
    started = time.perf_counter()
    extra = [callback for callback in (stopper, lines) if callback is not None]
    try:
        epochs = _fit(model, phase, plan, train, validation=validation, extra=extra)
    finally:
        if lines is not None:
            lines.close()  # Keras tells callbacks nothing of an error or an interrupt
    seconds = time.perf_counter() - started
    _refuse_divergence(name, epochs)
    return PhaseRun(
        name=name,
        epochs=epochs,
        seconds=seconds,
        best_epoch=len(epochs) if stopper is None else stopper.best_epoch + 1,
        movement=proof.check_movement(model, plan, before),
    )


class _Recorder(keras.callbacks.Callback):
    """Keeps every epoch's figures, the learning rate among them."""

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.epochs: list[dict[str, float]] = []

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append({**figures, "learning_rate": rate})


def _checked(pairs: data.Data, model: keras.Model, name: str) -> data.Data:
    return data.checked(
        pairs,
        name=name,
        input_shape=model.input_shape,
        num_classes=model.output_shape[-1],
        image_range=image_range(model),
    )


def _plan(model: keras.Model, phase: Phase) -> freezing.FreezePlan:
    """Work out what the phase freezes, and refuse what can't be meant; changes nothing."""
    backbone = backbone_of(model)
    plan = freezing.plan(backbone, phase.freeze, batchnorm=phase.batchnorm)
    fixed = {id(weight) for norm in plan.frozen_batchnorm for weight in norm.weights}
    left = {id(weight) for layer in plan.trained for weight in layer.weights} - fixed
    if not left and phase.freeze is not freezing.everything:
        raise ConfigError(
            f"`freeze` must leave weights of {backbone.name} to train, got a selection of "
            f"{len(plan.frozen)} of its {len(backbone.layers)} layers that leaves none. "
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


def _one_hot(pairs: data.Data) -> bool:
    return data.is_one_hot(next(iter(data.batches(pairs, 1)))[1])


def _check_same_form(train: data.Data, validation: data.Data) -> None:
    forms = ["one-hot" if _one_hot(pairs) else "integers" for pairs in (train, validation)]
    if len(set(forms)) > 1:
        raise DataError(
            f"`validation` labels must have the form of the training labels, {forms[0]}, "
            f"got {forms[1]}. tlkit.data.encoded makes integers one-hot."
        )


def _compile(model: keras.Model, phase: Phase, plan: freezing.FreezePlan, train: data.Data) -> None:
    """Set what is trained, then compile: flags set after that would do nothing."""
    model.trainable = True
    freezing.apply(plan)
    loss = "categorical_crossentropy" if _one_hot(train) else "sparse_categorical_crossentropy"
    model.compile(
        optimizer=phase.fresh_optimizer(),
        loss=loss if phase.loss is None else phase.loss,
        metrics=list(phase.metrics),
    )


def _fit(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    train: data.Data,
    *,
    validation: data.Data | None,
    extra: Sequence[keras.callbacks.Callback],
) -> tuple[dict[str, float], ...]:
    """Run Keras' own fit, and return what it measured epoch by epoch."""
    recorder = _Recorder()
    callbacks = [*phase.callbacks, *extra, recorder, keras.callbacks.TerminateOnNaN()]
    if plan.batchnorm == "reestimate":  # first, so that all the others see the new statistics
        callbacks.insert(
            0, ReestimateBatchNorm(plan.training_batchnorm, train, batch_size=phase.batch_size)
        )
    arrays = data.is_arrays(train)
    images, labels = train if arrays else (train, None)
    model.fit(
        images,
        labels,
        batch_size=phase.batch_size if arrays else None,
        epochs=phase.epochs,
        validation_data=validation,
        validation_batch_size=phase.batch_size if data.is_arrays(validation) else None,
        class_weight=None if phase.class_weight is None else dict(phase.class_weight),
        shuffle=arrays,
        callbacks=callbacks,
        verbose=0,
    )
    return tuple(recorder.epochs)


def _early_stopping(phase: Phase, validation: data.Data | None) -> keras.callbacks.Callback | None:
    if phase.patience is None:
        return None
    if validation is None and phase.monitor.startswith("val_"):
        raise ConfigError(f"`validation` must be given: `patience` watches {phase.monitor!r}.")
    return keras.callbacks.EarlyStopping(
        monitor=phase.monitor, patience=phase.patience, restore_best_weights=True
    )


def _refuse_divergence(name: str, epochs: Sequence[dict[str, float]]) -> None:
    for number, figures in enumerate(epochs, start=1):
        if not math.isfinite(figures["loss"]):
            raise TrainingError(
                f"The phase {name!r} diverged: its loss was {figures['loss']} in epoch {number}. "
                "Lower the phase's learning_rate."
            )
