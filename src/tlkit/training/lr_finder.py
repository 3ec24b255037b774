"""Find a learning rate: train one step at each of many rising rates, then restore the model."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments, keras_private
from tlkit._internal.logs import hide_retracing
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit._internal.variables import restore_model_on_exit, restore_on_exit, seed_layers
from tlkit.caching import plan as caching_plan
from tlkit.data import augmentation, batches
from tlkit.data.augmentation import refuse_mixing
from tlkit.data.batches import Data, Inputs
from tlkit.data.checks import LabelForm
from tlkit.errors import ConfigError
from tlkit.models import flat_graph, freezing
from tlkit.models.flat_graph import Part
from tlkit.training import optimizers
from tlkit.training.class_weights import refuse_multi_label, set_balanced
from tlkit.training.inputs import check_augmentation, validate
from tlkit.training.losses import check_loss_and_metrics, choose_loss, find_form
from tlkit.training.phase import Phase, plan_freezing

_SMOOTHING = 0.9
_MAX_RISE = 4.0  # times the lowest loss; the search ends above it


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """The loss at rising learning rates.

    Attributes:
        rates: The learning rate of each step.
        losses: The smoothed loss of each step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the loss was lowest (Smith, 2015, arXiv:1506.01186)."""
        return self.rates[int(np.argmin(self.losses))] / 10


@check_arguments
def find_learning_rate(
    model: keras.Model,
    phase: Phase,
    data: Data,
    *,
    min_rate: float = 1e-6,
    max_rate: float = 1.0,
    steps: int = 100,
    seed: int | None = None,
) -> LearningRates:
    """Train a few steps at rising learning rates, then restore the model.

    Weights, statistics, `trainable`, the compiled state and all random states are restored.

    Args:
        model: A classifier from build_classifier.
        phase: The phase, for its frozen layers, optimizer, loss and batch size; its learning rate
            and schedule are ignored.
        data: Images and labels in any form.
        min_rate: The first learning rate.
        max_rate: The last learning rate; the search ends earlier when the loss is four times its
            lowest value.
        steps: The number of learning rates, at least 2, each tried on the next batch; a small set
            is repeated.
        seed: The seed of the order of arrays and of random layers.

    Raises:
        ConfigError: A value is invalid.
        DataError: Images or labels don't fit the model.
    """
    arguments.at_least("steps", steps, 2)
    if not arguments.positive("min_rate", min_rate) < arguments.positive("max_rate", max_rate):
        raise ConfigError(
            f"`min_rate` must be below `max_rate`, got {min_rate:g} and {max_rate:g}."
        )
    if not isinstance(phase, Phase):
        raise ConfigError(f"`phase` must be a Phase, got {show(phase)}.")
    inputs = validate(data, model)
    refuse_mixing(phase.augmentation, "in find_learning_rate")
    check_augmentation(model, phase.augmentation, inputs)
    classes = model.output_shape[-1]
    form = find_form(model, inputs)
    check_loss_and_metrics(phase, num_classes=classes, form=form)
    refuse_multi_label(phase, model)
    phase = set_balanced(phase, inputs, classes)
    weights = phase.weigh_classes(classes)
    plan = plan_freezing(model, phase)
    rates = np.geomspace(min_rate, max_rate, steps)
    with _restore_model(model), restore_on_exit(keras_private.random_states(phase.augmentation)):
        if seed is not None:
            seed_layers([model, *phase.augmentation], seed)
            keras_private.set_shared_generator(keras.random.SeedGenerator(seed))
        caching_plan.set_trainable(model, plan)
        bare = replace(phase, learning_rate=min_rate, schedule="constant", warmup=0.0)
        twin = _compile_twin(model, bare, plan, form)
        batches = _repeat_batches(
            inputs, phase, len(model.input_shape), np.random.default_rng(seed)
        )
        losses = list(_train_steps(twin, batches, rates, weights))
    return LearningRates(rates=tuple(rates[: len(losses)].tolist()), losses=tuple(losses))


def _compile_twin(
    model: keras.Model, phase: Phase, plan: freezing.FreezePlan, form: LabelForm
) -> Part:
    """Return a model of the same layers, which is compiled instead of the classifier."""
    whole = flat_graph.flatten(model)
    twin = Part(
        whole.steps,
        whole.inputs,
        whole.outputs,
        input_dtype=model.inputs[0].dtype,
        name="learning_rate_finder",
    )
    optimizer = phase.create_optimizer()
    twin.compile(optimizer=optimizer, loss=[choose_loss(phase, form)])
    if phase.layer_decay < 1:
        optimizers.apply_layer_decay(optimizer, twin, plan, phase.layer_decay)
    return twin


def _train_steps(
    twin: keras.Model,
    batches: Iterator[tuple[Any, Any]],
    rates: np.ndarray,
    weights: dict[int, float] | None,
) -> Iterator[float]:
    average, lowest = 0.0, np.inf
    for step, rate in enumerate(rates, start=1):
        twin.optimizer.learning_rate = float(rate)
        images, labels = next(batches)
        loss = float(np.mean(twin.train_on_batch(images, labels, class_weight=weights)))
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed = average / (1 - _SMOOTHING**step)
        if not np.isfinite(smoothed) or smoothed > _MAX_RISE * lowest:
            return
        lowest = min(lowest, smoothed)
        yield smoothed


def _repeat_batches(
    data: Inputs, phase: Phase, rank: int, random: np.random.Generator
) -> Iterator[tuple[Any, Any]]:
    while True:
        source = data
        if batches.is_arrays(data):
            order = random.permutation(len(data[0]))
            images, labels = data
            lazy = batches.is_lazy(data)
            source = images.take(order) if lazy else images[order], labels[order]
        for images, labels in batches.batches(source, phase.batch_size):
            inputs = images[..., None] if images.ndim == rank - 1 else images
            if phase.augmentation:
                inputs = augmentation.augment(inputs, phase.augmentation)
            yield inputs, labels


@contextmanager
def _restore_model(model: keras.Model) -> Iterator[None]:
    shared = keras_private.shared_generator()  # used by layers without their own seed
    states = random.getstate(), np.random.get_state()  # a user's layers may use them
    variables = [shared.state] if shared else []
    try:
        with restore_model_on_exit(model), restore_on_exit(variables), hide_retracing():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        keras_private.set_shared_generator(shared)
