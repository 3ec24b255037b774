"""Keras' fit for one phase, on the whole model or on the tail that comes after its frozen part."""

from collections.abc import Sequence
from typing import Any

import keras
from typing_extensions import override

from tlkit import data, feeding, freezing, frozen
from tlkit.batchnorm import ReestimateBatchNorm
from tlkit.frozen import FrozenPart
from tlkit.phases import Phase
from tlkit.tail import Tail


def compile_phase(
    model: keras.Model, phase: Phase, plan: freezing.FreezePlan, train: data.Data
) -> None:
    """Set what is trained, then compile: flags set after that would do nothing."""
    frozen.apply(model, plan)
    for metric in phase.metrics:
        if isinstance(metric, keras.Metric):  # Keras resets it only once it has been used
            metric.reset_state()
    model.compile(
        optimizer=phase.fresh_optimizer(),
        loss=_loss(phase, train),
        metrics=list(phase.metrics),
    )


def _loss(phase: Phase, train: data.Data) -> Any:
    if phase.loss is not None:
        return phase.loss
    return "categorical_crossentropy" if one_hot(train) else "sparse_categorical_crossentropy"


def fit_whole(
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


def fit_tail(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    train: data.Data,
    *,
    validation: data.Data | None,
    part: FrozenPart,
    extra: Sequence[keras.callbacks.Callback],
) -> tuple[dict[str, float], ...]:
    """Run the frozen part once, and Keras' fit on the rest; return what it measured."""
    size = phase.batch_size
    feed = part.once.feed(part.cut, "train", train, batch_size=size)
    held_out = None
    if validation is not None:
        held_out = part.once.feed(part.cut, "validation", validation, batch_size=size)
    steps = phase.epochs * feed.steps
    tail = Tail(model, part.cut, cheaper=part.cache.rewrites, steps=steps)
    recorder = _Recorder()
    own = [*extra, recorder, keras.callbacks.TerminateOnNaN()]
    first = []
    if plan.batchnorm == "reestimate":
        features = feeding.Batches(feed.in_order(), feeding.NextView(1))
        first = [
            ReestimateBatchNorm(plan.training_batchnorm, features, batch_size=size, model=tail)
        ]
    model.optimizer.build(model.trainable_variables)  # in the classifier's order, not the tail's
    tail.fit_as(
        feed,
        validation=held_out,
        epochs=phase.epochs,
        loss=_loss(phase, train),
        metrics=phase.metrics,
        class_weight=phase.class_weight,
        callbacks=phase.callbacks,
        first=first,
        last=own,
    )
    return tuple(recorder.epochs)


def one_hot(pairs: data.Data) -> bool:
    """Tell whether the labels have a column for each class."""
    return data.is_one_hot(next(iter(data.batches(pairs, 1)))[1])


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
