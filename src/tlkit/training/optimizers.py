"""Create a phase's optimizer, with learning rates by step and by layer, and averaged weights."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import keras
from typing_extensions import override

from tlkit._internal.text import show
from tlkit.errors import ConfigError
from tlkit.models import freezing
from tlkit.models.blocks import has_kernel, number_blocks

Schedule = Literal["constant", "cosine"]
"""A constant learning rate, or one that falls to 0 along a cosine."""

_EXCLUSIONS = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
_NOT_DECAYED = ["bias", "gamma", "beta"]  # biases and normalisation, as is usual


def create_optimizer(
    base: str | keras.optimizers.Optimizer,
    *,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None,
    settings: dict[str, Any],
) -> keras.optimizers.Optimizer:
    """Create an optimizer with the configuration of another one, but without its state.

    Args:
        base: A Keras optimizer or its name.
        learning_rate: The learning rate; None keeps that of `base`.
        settings: More arguments of the constructor.

    Raises:
        ConfigError: `base` is not an optimizer, or does not accept the settings.
    """
    try:
        found = keras.optimizers.get(base)
    except ValueError as error:
        raise ConfigError(
            f"`optimizer` must be a Keras optimizer or its name, got {show(base)}."
        ) from error
    config = found.get_config()
    if learning_rate is not None:
        config["learning_rate"] = learning_rate
    unknown = [name for name in settings if name not in config]
    if unknown:
        raise ConfigError(f"`optimizer` must accept `{unknown[0]}`, got {show(base)}.")
    try:
        fresh = type(found).from_config({**config, **settings})
    except ValueError as error:
        raise ConfigError(f"`optimizer` must accept its settings together: {error}") from error
    _exclude_from_weight_decay(found, fresh)
    return fresh


def _exclude_from_weight_decay(
    base: keras.optimizers.Optimizer, fresh: keras.optimizers.Optimizer
) -> None:
    """Exclude the weights that `base` excludes; by default biases and normalisation."""
    own = [name for name in vars(base) if name in _EXCLUSIONS]
    for name in own:
        setattr(fresh, name, getattr(base, name))
    if fresh.weight_decay is not None and not own:
        fresh.exclude_from_weight_decay(var_names=_NOT_DECAYED)


def create_schedule(
    rate: float, *, schedule: Schedule, warmup_steps: int, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Create a learning rate that rises from 0 during warm-up, then stays or falls to 0.

    Cosine annealing: Loshchilov and Hutter, 2016 (arXiv:1608.03983).

    Args:
        rate: The highest learning rate.
        schedule: "constant" to stay at `rate`, "cosine" to fall to 0 along a cosine.
        warmup_steps: The number of steps of the warm-up.
        steps: The number of all steps.
    """
    if schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate,
            decay_steps=max(steps - warmup_steps, 1),
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    if warmup_steps:
        return keras.optimizers.schedules.PolynomialDecay(0.0, warmup_steps, rate)
    return rate


# Layer-wise decay: early layers of a pretrained network are general and should change less. The
# block before the head learns at `decay` times the learning rate, the block before that at
# decay**2, and so on. A block is a residual block, or the layers between two of them if one has a
# kernel (a convolution, a dense layer); without a kernel, such as a single normalisation, these
# layers share the power of the next block. In a network without residual blocks, each layer with a
# kernel begins a block, which includes the layers up to the next one.
def layer_rates(backbone: keras.Model, decay: float) -> dict[int, float]:
    """Return the factor of the learning rate for each weight, by the ids of the weights."""
    power = 0
    powers: dict[int, int] = {}
    for block in reversed(_blocks(backbone)):
        power += any(has_kernel(layer) for layer in block)
        powers |= {id(weight): max(power, 1) for layer in block for weight in layer.weights}
    return {weight: decay**power for weight, power in powers.items()}


def _blocks(backbone: keras.Model) -> list[list[keras.Layer]]:
    """Return the layers grouped into residual blocks and the layers between, or by kernels."""
    numbers: Sequence[int | None] = number_blocks(backbone)
    if not any(number is not None for number in numbers):
        numbers = list(itertools.accumulate(map(has_kernel, backbone.layers)))
    pairs = zip(numbers, backbone.layers, strict=True)
    runs = itertools.groupby(pairs, key=lambda pair: pair[0])
    return [[layer for _, layer in run] for _, run in runs]


def apply_layer_decay(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    plan: freezing.FreezePlan,
    decay: float,
) -> None:
    """Let each block of the backbone learn at `decay` times the rate of the next block."""
    optimizer.build(model.trainable_variables)
    rates = layer_rates(plan.backbone, decay)
    scale_learning_rates(
        optimizer, [rates.get(id(variable), 1.0) for variable in model.trainable_variables]
    )


def scale_learning_rates(optimizer: keras.optimizers.Optimizer, rates: Sequence[float]) -> None:
    """Multiply the learning rate of each trainable variable, but not its weight decay.

    Args:
        optimizer: A built optimizer; its `update_step` is replaced.
        rates: A factor for each variable, in the optimizer's order.
    """
    update = optimizer.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = rates[optimizer._get_variable_index(variable)]
        update(gradient, variable, learning_rate * rate)

    optimizer.update_step = update_step


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Uses the averaged weights for validation, for other callbacks and in the trained model.

    Keras' own callback loses the average if training stops before the last epoch.
    """

    def __init__(self) -> None:
        super().__init__(swap_on_epoch=True)

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reset the state of an earlier training."""
        self._average: list[Any] = []

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the model's weights to the average until the next epoch begins."""
        super().on_epoch_end(epoch, logs)
        self._average = [
            keras.ops.convert_to_numpy(each).copy() for each in self.model.trainable_variables
        ]

    @override
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Set the model's weights to the last epoch's average."""
        for variable, value in zip(self.model.trainable_variables, self._average, strict=False):
            variable.assign(value)
        self._average = []
