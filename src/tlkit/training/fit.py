"""Keras' fit for one phase, on the whole model or on the tail that comes after its frozen part."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit.caching import batching
from tlkit.caching import plan as frozen
from tlkit.caching.plan import FrozenPart
from tlkit.caching.rows import LazyRows, Rows
from tlkit.caching.tail import Tail
from tlkit.data import augmentation, batches
from tlkit.errors import DataError
from tlkit.models import freezing
from tlkit.training import optimizers
from tlkit.training.batchnorm import ReestimateBatchNorm
from tlkit.training.layer_rates import layer_rates
from tlkit.training.phase import Phase


def compile_phase(
    model: keras.Model, phase: Phase, plan: freezing.FreezePlan, train: batches.Data
) -> None:
    """Set what is trained, then compile: flags set after that would do nothing."""
    frozen.apply(model, plan)
    for metric in phase.metrics:
        if isinstance(metric, keras.Metric):  # Keras resets it only once it has been used
            metric.reset_state()
    optimizer = phase.fresh_optimizer(steps_of(train, phase))
    model.compile(optimizer=optimizer, loss=loss_of(phase, train), metrics=list(phase.metrics))
    if phase.layer_decay < 1:
        decay_by_layer(optimizer, model, plan, phase.layer_decay)


def decay_by_layer(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    plan: freezing.FreezePlan,
    decay: float,
) -> None:
    """Let each block of the backbone learn at `decay` times the rate of the one after it."""
    optimizer.build(model.trainable_variables)
    rates = layer_rates(plan.backbone, decay)
    optimizers.set_rates(
        optimizer, [rates.get(id(variable), 1.0) for variable in model.trainable_variables]
    )


def steps_of(train: batches.Data, phase: Phase) -> int | None:
    """Return how many steps an epoch has, where a schedule wants to know.

    Raises:
        DataError: It does, and the data does not tell.
    """
    if phase.schedule == "constant" and not phase.warmup:
        return None
    if batches.is_arrays(train):
        return -(-len(train[0]) // phase.batch_size)  # type: ignore[index]  # a pair
    try:
        return len(train)  # type: ignore[arg-type]  # many datasets have a length
    except TypeError as error:
        raise DataError(
            "`train` must tell how many batches it has for `schedule` or `warmup`: give a "
            "tf.data.Dataset its length with assert_cardinality, or pass a Keras schedule as "
            "learning_rate."
        ) from error


def loss_of(phase: Phase, train: batches.Data) -> Any:
    """Return the phase's loss, by default cross-entropy for the labels' form."""
    if phase.loss is not None:
        return phase.loss
    return optimizers.crossentropy(one_hot=one_hot(train), label_smoothing=phase.label_smoothing)


def fit_whole(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    train: batches.Data,
    *,
    validation: batches.Data | None,
    extra: Sequence[keras.callbacks.Callback],
) -> tuple[dict[str, float], ...]:
    """Run Keras' own fit, and return what it measured epoch by epoch."""
    recorder = _Recorder()
    first = _averaging(phase)
    if plan.batchnorm == "reestimate":  # of the averaged weights, before all others look
        first.append(
            ReestimateBatchNorm(plan.training_batchnorm, train, batch_size=phase.batch_size)
        )
    callbacks = [*first, *phase.callbacks, *extra, recorder, keras.callbacks.TerminateOnNaN()]
    source = _batches(train, phase) if phase.augmentation or batches.is_lazy(train) else train
    if phase.augmentation:
        rank = len(model.input_shape)
        source = augmentation.dataset(source, phase.augmentation, rank=rank)
    if batches.is_lazy(validation):
        validation = _batches(validation, phase, shuffle=False)  # type: ignore[arg-type]  # there
    arrays = batches.is_arrays(source)
    images, labels = source if arrays else (source, None)
    model.fit(
        images,
        labels,
        batch_size=phase.batch_size if arrays else None,
        epochs=phase.epochs,
        validation_data=validation,
        validation_batch_size=phase.batch_size if batches.is_arrays(validation) else None,
        class_weight=None if phase.class_weight is None else dict(phase.class_weight),
        shuffle=arrays,
        callbacks=callbacks,
        verbose=0,
    )
    return tuple(recorder.epochs)


def _batches(train: batches.Data, phase: Phase, *, shuffle: bool = True) -> Any:
    """Return a dataset of batches, for arrays in the order that Keras would take."""
    if not batches.is_arrays(train):
        return train
    images, labels = train
    feed = batching.Feed(
        views=(LazyRows(images) if batches.is_lazy(train) else Rows([[images]]),),
        labels=np.asarray(labels),
        weights=None,
        batch_size=phase.batch_size,
        shuffle=shuffle,
    )
    return batching.dataset(feed, batching.NextView(1))


def _averaging(phase: Phase) -> list[keras.callbacks.Callback]:
    """Return what makes validation and the best epoch see the averaged weights."""
    return [] if phase.ema_momentum is None else [optimizers.AveragedWeights()]


def fit_tail(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    train: batches.Data,
    *,
    validation: batches.Data | None,
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
    first = _averaging(phase)
    if plan.batchnorm == "reestimate":
        features = batching.Batches(feed.in_order(), batching.NextView(1))
        first.append(
            ReestimateBatchNorm(plan.training_batchnorm, features, batch_size=size, model=tail)
        )
    model.optimizer.build(model.trainable_variables)  # in the classifier's order, not the tail's
    tail.fit_as(
        feed,
        validation=held_out,
        epochs=phase.epochs,
        loss=loss_of(phase, train),
        metrics=phase.metrics,
        class_weight=phase.class_weight,
        callbacks=phase.callbacks,
        first=first,
        last=own,
    )
    return tuple(recorder.epochs)


def one_hot(pairs: batches.Data) -> bool:
    """Tell whether the labels have a column for each class."""
    return batches.is_one_hot(next(iter(batches.batches(pairs, 1)))[1])


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
