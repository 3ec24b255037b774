"""One phase of training as a value: what is frozen, how it is optimised, for how long."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit.errors import ConfigError
from tlkit.models import freezing
from tlkit.training import optimizers, solvers

_FOR_SOLVERS = ("solver", "batch_size", "freeze", "augmentation", "metrics", "callbacks")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What one training phase does.

    Attributes:
        epochs: How often it goes over the training data, at least 1; a solver does so once.
        solver: Solves the head instead of training it: "lbfgs" for logistic regression, "ridge"
            for ridge regression; see `tlkit.training.solvers`. The backbone must be frozen whole,
            the head one dense layer. None trains.
        learning_rate: A number above 0 or a Keras schedule; by default the optimizer's own.
        schedule: "constant", or "cosine" for a learning rate that falls to 0 along a cosine.
        warmup: Epochs, or a part of one, in which the learning rate first rises from 0.
        layer_decay: Each block of the backbone learns at so many times the rate of the one after
            it (Clark et al., 2020, arXiv:2003.10555), 0 < layer_decay <= 1.
        weight_decay: As the optimizer of that setting takes it, such as "adamw"; biases and
            normalisation are spared, or what your optimizer's exclude_from_weight_decay names.
        global_clipnorm: The gradient of all weights together is cut to this length.
        label_smoothing: How much of a label is spread over all classes, 0 <= value < 1; part of the
            default loss.
        ema_momentum: Keep an exponential moving average of the weights with this momentum, such
            as 0.99 or 0.999. Validation measures the average, and the phase ends with it. Where
            BatchNormalization trains, "reestimate" is what gives the average its own statistics.
        augmentation: Keras preprocessing layers that change the raw images at random, in training
            alone: the model never holds them. With `Cache(views=k)` k augmented copies of each
            image are kept for the frozen part; without, such a phase runs the whole model.
        batch_size: Images a step, for arrays; a dataset has its own.
        freeze: Selects the backbone layers that stay as they are; see `tlkit.freezing`.
        batchnorm: What the BatchNormalization of the other layers does: "frozen", "train" or
            "reestimate"; see `tlkit.freezing.plan`.
        optimizer: A Keras optimizer's name, or an optimizer; each phase starts a fresh copy.
        loss: Any Keras loss; by default cross-entropy for the labels' form, integer or one-hot.
        metrics: Keras metrics, beside the loss.
        class_weight: Weight of each class index in the loss.
        callbacks: Keras callbacks; a solver tells them of one epoch, and of no batch.
        patience: Stop when `monitor` has not improved for so many epochs, and go back to the best
            weights. None trains all the epochs and keeps the last weights.
        monitor: What `patience` watches.

    Raises:
        ConfigError: A value is wrong.

    Examples:
        >>> Phase(epochs=5, learning_rate=1e-5, freeze=freezing.first(100)).batchnorm
        'frozen'
    """

    epochs: int = 1
    solver: str | None = None
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None
    schedule: str = "constant"
    warmup: float = 0.0
    layer_decay: float = 1.0
    weight_decay: float | None = None
    global_clipnorm: float | None = None
    label_smoothing: float = 0.0
    ema_momentum: float | None = None
    augmentation: tuple[keras.layers.Layer, ...] = ()
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
        arguments.at_least("epochs", self.epochs, 1)
        arguments.at_least("batch_size", self.batch_size, 1)
        arguments.one_of("batchnorm", self.batchnorm, freezing.BATCHNORM_POLICIES)
        if self.patience is not None:
            arguments.at_least("patience", self.patience, 0)
        self._check_rates()
        if not callable(self.freeze):
            raise ConfigError(
                "`freeze` must be a function from a backbone to its frozen layers, such as "
                f"tlkit.freezing.first(100), got {self.freeze!r}."
            )
        self._check_lists()
        self._check_solver()
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
        if not isinstance(self.augmentation, tuple | list) or not all(
            isinstance(each, keras.Layer) for each in self.augmentation
        ):
            raise ConfigError(
                f"`augmentation` must be a tuple of Keras layers, got {self.augmentation!r}."
            )

    def _check_rates(self) -> None:
        own = keras.optimizers.schedules.LearningRateSchedule
        if isinstance(self.learning_rate, own):
            if self.schedule != "constant" or self.warmup:
                raise ConfigError(
                    "`learning_rate` must be a number where `schedule` or `warmup` shapes it, got "
                    f"{type(self.learning_rate).__name__}."
                )
        elif self.learning_rate is not None:
            arguments.positive("learning_rate", self.learning_rate)
        arguments.one_of("schedule", self.schedule, optimizers.SCHEDULES)
        if arguments.fraction("label_smoothing", self.label_smoothing) and self.loss is not None:
            raise ConfigError(
                "`label_smoothing` must be left out with a loss of your own, which it would not "
                "change: smooth labels there, as keras.losses.CategoricalCrossentropy can."
            )
        if self.warmup and arguments.positive("warmup", self.warmup) >= self.epochs:
            raise ConfigError(
                f"`warmup` must be shorter than the phase's {self.epochs} epochs, "
                f"got {self.warmup:g}."
            )
        if arguments.positive("layer_decay", self.layer_decay) > 1:
            raise ConfigError(f"`layer_decay` must be at most 1, got {self.layer_decay:g}.")
        if self.ema_momentum is not None:
            arguments.fraction("ema_momentum", self.ema_momentum)
        for name in ("weight_decay", "global_clipnorm"):
            if getattr(self, name) is not None:
                arguments.positive(name, getattr(self, name))

    def _check_solver(self) -> None:
        if self.solver is None:
            return
        arguments.one_of("solver", self.solver, solvers.SOLVERS)
        if self.freeze is not freezing.everything:
            raise ConfigError(
                "`freeze` must be tlkit.freezing.everything with a solver: it solves the head "
                "alone."
            )
        for field in fields(self):
            if field.name not in _FOR_SOLVERS and getattr(self, field.name) != field.default:
                raise ConfigError(
                    f"`{field.name}` must be left out with a solver, which takes no steps, got "
                    f"{getattr(self, field.name)!r}."
                )

    def fresh_optimizer(self, steps: int | None = None) -> keras.optimizers.Optimizer:
        """Return a new optimizer with this phase's settings and no state.

        Args:
            steps: How many steps an epoch has, for `schedule` and `warmup`.
        """
        settings = {
            "weight_decay": self.weight_decay,
            "global_clipnorm": self.global_clipnorm,
            "use_ema": None if self.ema_momentum is None else True,
            "ema_momentum": self.ema_momentum,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        make = partial(optimizers.optimizer_of, self.optimizer, settings=given)
        fresh = make(learning_rate=self.learning_rate)
        if steps is None or (self.schedule == "constant" and not self.warmup):
            return fresh
        rate = optimizers.scheduled(
            float(keras.ops.convert_to_numpy(fresh.learning_rate)),
            schedule=self.schedule,
            warmup_steps=round(self.warmup * steps),
            steps=self.epochs * steps,
        )
        return make(learning_rate=rate)
