"""Train one phase by Keras' fit: the whole model, or its tail on features of the frozen part."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal.logs import hide_retracing
from tlkit.caching import batching
from tlkit.caching import plan as caching_plan
from tlkit.caching.plan import FrozenPart
from tlkit.caching.rows import LazyRows, Rows
from tlkit.caching.tail import Tail
from tlkit.data import augmentation, batches
from tlkit.data.checked_batches import CheckedBatches, raise_data_error
from tlkit.errors import DataError
from tlkit.models import freezing
from tlkit.training import optimizers, precision
from tlkit.training.batchnorm import ReestimateBatchNorm
from tlkit.training.checkpoints import PhaseCheckpoints
from tlkit.training.losses import choose_loss, find_form
from tlkit.training.phase import Phase


def compile_phase(
    model: keras.Model, phase: Phase, plan: freezing.FreezePlan, data: batches.Inputs
) -> None:
    """Set which layers are trainable, then compile, since later changes have no effect in Keras."""
    caching_plan.set_trainable(model, plan)
    for metric in phase.metrics:
        if isinstance(metric, keras.Metric):  # Keras resets it only after its first use
            metric.reset_state()
    optimizer = phase.create_optimizer(count_steps(data, phase))
    loss = choose_loss(phase, find_form(model, data))
    scaled = precision.scale_loss(optimizer, phase.precision)
    model.compile(optimizer=scaled, loss=loss, metrics=list(phase.metrics))
    if phase.layer_decay < 1:
        optimizers.apply_layer_decay(optimizer, model, plan, phase.layer_decay)


def count_steps(data: batches.Inputs, phase: Phase) -> int | None:
    """Return the number of steps in an epoch; None if no schedule needs it.

    Raises:
        DataError: A schedule needs it, and the dataset has no length.
    """
    if phase.schedule == "constant" and not phase.warmup:
        return None
    if batches.is_arrays(data):
        return -(-len(data[0]) // phase.batch_size)
    try:
        return len(data)  # type: ignore[arg-type]  # many datasets have a length
    except TypeError as error:
        raise DataError(
            "`data` must have a length for `schedule` or `warmup`: give a tf.data.Dataset its "
            "length with assert_cardinality, or pass a Keras schedule as learning_rate."
        ) from error


def fit_whole(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    data: batches.Inputs,
    *,
    validation_data: batches.Inputs | None,
    extra: Sequence[keras.callbacks.Callback],
    saved: PhaseCheckpoints | None = None,
    shown: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train the whole model by Keras' fit.

    Args:
        model: The classifier, compiled.
        phase: The phase.
        plan: The freeze plan of the phase.
        data: The training images and labels.
        validation_data: The validation images and labels.
        extra: Callbacks that run after the phase's own callbacks.
        saved: Saves the state after each epoch, and has the number of epochs done before.
        shown: Callbacks that run after all others, and whose state need not be saved.
    """
    first = _list_first(phase, saved)
    if plan.batchnorm == "reestimate":  # for the averaged weights, before other callbacks run
        first.append(
            ReestimateBatchNorm(plan.training_batchnorm, data, batch_size=phase.batch_size)
        )
    last = _add_last(first, phase, extra, saved, model)
    callbacks = [*first, *phase.callbacks, *last, *shown]
    stays = batches.is_arrays(data) and not (phase.augmentation or batches.is_lazy(data))
    source = data if stays else _to_dataset(data, phase)
    if phase.augmentation:
        rank = len(model.input_shape)
        source = augmentation.augment_dataset(source, phase.augmentation, rank=rank)
    if batches.is_lazy(validation_data):
        validation_data = _to_dataset(validation_data, phase, shuffle=False)
    elif isinstance(validation_data, CheckedBatches):
        validation_data = validation_data.for_keras()
    if saved is not None:  # it may have to skip batches, which is impossible for arrays
        source = saved.skip_steps(_to_dataset(source, phase) if stays else source)
    arrays = batches.is_arrays(source)
    images, labels = source if arrays else (source, None)
    is_held_out = batches.is_arrays(validation_data)
    try:
        with precision.compute_in(model, phase.precision), hide_retracing():
            model.fit(
                images,
                labels,
                batch_size=phase.batch_size if arrays else None,
                epochs=phase.epochs,
                initial_epoch=0 if saved is None else saved.first_epoch(phase.epochs),
                validation_data=validation_data,
                validation_batch_size=phase.batch_size if is_held_out else None,
                class_weight=phase.weigh_classes(model.output_shape[-1]),
                shuffle=arrays,
                callbacks=callbacks,
                verbose=0,
            )
    except Exception as error:  # each backend wraps the errors of a dataset in its own errors
        raise_data_error(error)
        raise


def _add_last(
    first: Sequence[keras.callbacks.Callback],
    phase: Phase,
    extra: Sequence[keras.callbacks.Callback],
    saved: PhaseCheckpoints | None,
    fitted: keras.Model,
) -> list[keras.callbacks.Callback]:
    """Return the callbacks that run after the phase's; the last one saves the state of all."""
    last = [*extra, keras.callbacks.TerminateOnNaN()]
    if saved is None:
        return last
    saved.watch([*first, *phase.callbacks, *last], fitted)
    return [*last, saved]


def _to_dataset(data: batches.Inputs, phase: Phase, *, shuffle: bool = True) -> Any:
    """Return a dataset of batches; arrays are shuffled as Keras shuffles them."""
    if isinstance(data, CheckedBatches):
        return data.for_keras()
    images, labels = data
    dataset = batching.FeatureDataset(
        views=(LazyRows(images) if batches.is_lazy(data) else Rows([[images]]),),
        labels=np.asarray(labels),
        weights=None,
        batch_size=phase.batch_size,
        shuffle=shuffle,
        is_bare=True,
    )
    return batching.make_dataset(dataset, batching.NextView(1))


def _list_first(phase: Phase, saved: PhaseCheckpoints | None) -> list[keras.callbacks.Callback]:
    """Return the callbacks that run before all others, so that these see the averaged weights."""
    first: list[keras.callbacks.Callback] = []
    if saved is not None:
        undo = saved.undo_extra_step
        first.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: undo()))
    return first if phase.ema_momentum is None else [*first, optimizers.AveragedWeights()]


def fit_tail(
    model: keras.Model,
    phase: Phase,
    plan: freezing.FreezePlan,
    data: batches.Inputs,
    *,
    validation_data: batches.Inputs | None,
    part: FrozenPart,
    extra: Sequence[keras.callbacks.Callback],
    saved: PhaseCheckpoints | None = None,
    shown: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Run the frozen part once, and train the rest by Keras' fit; arguments as for `fit_whole`."""
    size = phase.batch_size
    dataset = part.extraction.extract(part.cut, "train", data, batch_size=size)
    held_out = None
    if validation_data is not None:
        held_out = part.extraction.extract(part.cut, "validation", validation_data, batch_size=size)
    steps = phase.epochs * dataset.steps
    rewrites = part.cache.rewrites and phase.precision == "float32"
    tail = Tail(model, part.cut, rewrites=rewrites, steps=steps)
    first = _list_first(phase, saved)
    if plan.batchnorm == "reestimate":
        features = batching.FeatureBatches(dataset.in_order(), batching.NextView(1))
        first.append(
            ReestimateBatchNorm(plan.training_batchnorm, features, batch_size=size, model=tail)
        )
    model.optimizer.build(model.trainable_variables)  # in the classifier's order of variables
    with precision.compute_in(model, phase.precision), hide_retracing():
        tail.fit_features(
            dataset,
            validation=held_out,
            epochs=phase.epochs,
            initial_epoch=0 if saved is None else saved.first_epoch(phase.epochs),
            loss=choose_loss(phase, find_form(model, data)),
            metrics=phase.metrics,
            class_weight=phase.weigh_classes(model.output_shape[-1]),
            callbacks=phase.callbacks,
            first=first,
            last=[*_add_last(first, phase, extra, saved, tail), *shown],
            prepare=None if saved is None else saved.skip_steps,
        )


class EpochRecorder(keras.callbacks.Callback):
    """Records every epoch's metrics and learning rate.

    Attributes:
        epochs: The metrics of each epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict[str, float]] = []

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Discard the records of an earlier run."""
        self.epochs = []

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append({**metrics, "learning_rate": rate})
