"""One phase of training as a value: what is frozen, how it is optimised, for how long."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tlkit import _checks, freezing
from tlkit.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What one training phase does.

    Attributes:
        epochs: How often it goes over the training data, at least 1.
        learning_rate: A number above 0 or a Keras schedule; by default the optimizer's own.
        batch_size: Images a step, for arrays; a dataset has its own.
        freeze: Selects the backbone layers that stay as they are; see `tlkit.freezing`.
        batchnorm: What the BatchNormalization of the other layers does: "frozen", "train" or
            "reestimate"; see `tlkit.freezing.plan`.
        optimizer: A Keras optimizer's name, or an optimizer; each phase starts a fresh copy.
        loss: Any Keras loss; by default cross-entropy for the labels' form, integer or one-hot.
        metrics: Keras metrics, beside the loss.
        class_weight: Weight of each class index in the loss.
        callbacks: Keras callbacks.
        patience: Stop when `monitor` has not improved for so many epochs, and go back to the best
            weights. None trains all the epochs and keeps the last weights.
        monitor: What `patience` watches.

    Raises:
        ConfigError: A value is wrong.

    Examples:
        >>> Phase(epochs=5, learning_rate=1e-5, freeze=freezing.first(100)).batchnorm
        'frozen'
    """

    epochs: int
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None
    batch_size: int = 32
    freeze: freezing.Select = freezing.everything
    batchnorm: str = "frozen"
    optimizer: str | keras.optimizers.Optimizer = "adam"
    loss: str | Callable[..., Any] | None = None
    metrics: tuple[Any, ...] = ("accuracy",)
    class_weight: Mapping[int, float] | None = None
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    patience: int | None = None
    monitor: str = "val_loss"

    def __post_init__(self) -> None:
        _checks.at_least("epochs", self.epochs, 1)
        _checks.at_least("batch_size", self.batch_size, 1)
        _checks.one_of("batchnorm", self.batchnorm, freezing.BATCHNORM_POLICIES)
        if self.patience is not None:
            _checks.at_least("patience", self.patience, 0)
        schedule = keras.optimizers.schedules.LearningRateSchedule
        if self.learning_rate is not None and not isinstance(self.learning_rate, schedule):
            _checks.positive("learning_rate", self.learning_rate)
        if not callable(self.freeze):
            raise ConfigError(
                "`freeze` must be a function from a backbone to its frozen layers, such as "
                f"tlkit.freezing.first(100), got {self.freeze!r}."
            )
        self._check_lists()
        self.fresh_optimizer()

    def _check_lists(self) -> None:
        if not isinstance(self.metrics, tuple | list):
            raise ConfigError(f"`metrics` must be a tuple of metrics, got {self.metrics!r}.")
        callback = keras.callbacks.Callback
        if not isinstance(self.callbacks, tuple | list) or not all(
            isinstance(each, callback) for each in self.callbacks
        ):
            raise ConfigError(
                f"`callbacks` must be a tuple of Keras callbacks, got {self.callbacks!r}."
            )

    def fresh_optimizer(self) -> keras.optimizers.Optimizer:
        """Return a new optimizer with this phase's settings and no state."""
        try:
            given = keras.optimizers.get(self.optimizer)
        except ValueError as error:
            raise ConfigError(
                f"`optimizer` must be a Keras optimizer or its name, got {self.optimizer!r}."
            ) from error
        config = given.get_config()
        if self.learning_rate is not None:
            config["learning_rate"] = self.learning_rate
        return type(given).from_config(config)
