"""What a phase optimizes with: a fresh optimizer, its learning rates, and the loss."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
from typing_extensions import override

from tlkit.errors import ConfigError

Schedule = Literal["constant", "cosine"]
"""A constant learning rate, or one that falls to 0 along a cosine."""

_EXCLUSIONS = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
_NOT_DECAYED = ["bias", "gamma", "beta"]  # offsets and normalisation, as is usual


def optimizer_of(
    given: str | keras.optimizers.Optimizer,
    *,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None,
    settings: dict[str, Any],
) -> keras.optimizers.Optimizer:
    """Return a new optimizer of the given kind and settings, without any state.

    Args:
        given: A Keras optimizer or its name.
        learning_rate: Its learning rate; None leaves the optimizer's own.
        settings: More of its constructor's arguments.

    Raises:
        ConfigError: It is no optimizer, or takes no such argument.
    """
    try:
        made = keras.optimizers.get(given)
    except ValueError as error:
        raise ConfigError(
            f"`optimizer` must be a Keras optimizer or its name, got {given!r}."
        ) from error
    config = made.get_config()
    if learning_rate is not None:
        config["learning_rate"] = learning_rate
    unknown = [name for name in settings if name not in config]
    if unknown:
        raise ConfigError(f"`optimizer` must take `{unknown[0]}`, got {given!r}.")
    try:
        fresh = type(made).from_config({**config, **settings})
    except ValueError as error:
        raise ConfigError(f"`optimizer` must take its settings together: {error}") from error
    _spare(made, fresh)
    return fresh


def _spare(given: keras.optimizers.Optimizer, fresh: keras.optimizers.Optimizer) -> None:
    """Leave biases and normalisation undecayed, or what the given optimizer leaves."""
    own = [name for name in vars(given) if name in _EXCLUSIONS]
    for name in own:
        setattr(fresh, name, getattr(given, name))
    if fresh.weight_decay is not None and not own:
        fresh.exclude_from_weight_decay(var_names=_NOT_DECAYED)


def scheduled(
    rate: float, *, schedule: Schedule, warmup_steps: int, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return a learning rate that rises for some steps, then stays or falls along a cosine to 0.

    Cosine annealing: Loshchilov and Hutter, 2016 (arXiv:1608.03983).
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


def set_rates(optimizer: keras.optimizers.Optimizer, rates: Sequence[float]) -> None:
    """Multiply the learning rate of each trainable variable, in the optimizer's order.

    Weight decay is not multiplied.
    """
    plain = optimizer.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = rates[optimizer._get_variable_index(variable)]
        plain(gradient, variable, learning_rate * rate)

    optimizer.update_step = update_step


@keras.saving.register_keras_serializable(package="tlkit")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy for class indices, with label smoothing: Keras has it for one-hot labels only.

    Label smoothing: Szegedy et al., 2015 (arXiv:1512.00567).

    Args:
        label_smoothing: How much of each label is spread over all the classes.
        reduction: As in Keras.
        name: The Keras name.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        *,
        reduction: str = "sum_over_batch_size",
        name: str = "smoothed_crossentropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **options)
        self.label_smoothing = label_smoothing

    @override
    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        classes = y_pred.shape[-1]
        indices = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        return keras.losses.categorical_crossentropy(
            keras.ops.one_hot(indices, classes, dtype=y_pred.dtype),
            y_pred,
            label_smoothing=self.label_smoothing,
        )

    @override
    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def crossentropy(*, one_hot: bool, label_smoothing: float) -> str | Callable[..., Any]:
    """Return the cross-entropy for labels of this form."""
    if not label_smoothing:
        return "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    if one_hot:
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)  # type: ignore[no-any-return]
    return SmoothedCrossentropy(label_smoothing)


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Lets validation, other callbacks and the finished model have the averaged weights.

    Keras' own loses them where training stops before its last epoch.
    """

    def __init__(self) -> None:
        super().__init__(swap_on_epoch=True)

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget an earlier training."""
        self._average: list[Any] = []

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Put the average in the model, until the next epoch begins."""
        super().on_epoch_end(epoch, logs)
        self._average = [
            keras.ops.convert_to_numpy(each).copy() for each in self.model.trainable_variables
        ]

    @override
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Put the last epoch's average in the model."""
        for variable, value in zip(self.model.trainable_variables, self._average, strict=False):
            variable.assign(value)
        self._average = []
