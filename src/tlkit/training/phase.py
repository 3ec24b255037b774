"""Phases as values: one that trains, and one that solves a linear head on frozen features."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import keras

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.data.augmentation import refuse_mixing
from tlkit.errors import ConfigError
from tlkit.models import freezing
from tlkit.models.inspection import backbone_of
from tlkit.training import class_weights, optimizers, solvers
from tlkit.training.class_weights import ClassWeight
from tlkit.training.precision import Precision


@check_arguments
@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase that trains the head, and the layers of the backbone that are not frozen.

    Attributes:
        epochs: Number of passes over the training data, at least 1.
        learning_rate: A number above 0 or a Keras schedule; by default the optimizer's own.
        schedule: "constant", or "cosine" for a learning rate that falls to 0 along a cosine.
        warmup: Number of epochs, or a fraction of one, in which the learning rate first rises from
            0; less than `epochs`.
        layer_decay: Factor between the learning rates of a block of the backbone and of the next
            block (Clark et al., 2020, arXiv:2003.10555), 0 < layer_decay <= 1.
        weight_decay: Weight decay, above 0, for an optimizer that accepts it, such as "adamw".
            Biases and normalisation are excluded, or the weights that your optimizer's
            exclude_from_weight_decay excludes.
        global_clipnorm: Largest norm of the gradient of all weights together.
        label_smoothing: Share of a label that is spread over all classes, 0 <= value < 1; part of
            the default loss.
        ema_momentum: Momentum of an exponential moving average of the weights, such as 0.99.
            Validation uses the average, and the phase ends with it. If BatchNormalization trains,
            batchnorm="reestimate" recomputes the statistics for the averaged weights.
        augmentation: Keras preprocessing layers that change the raw images at random, during
            training only; they are not part of the model. With `Cache(views=k)`, k augmented copies
            of each image pass through the frozen part once; otherwise every epoch runs the whole
            model. MixUp and CutMix also mix labels, which are then one-hot, also for metrics.
        batch_size: Number of images per step, for arrays; a dataset keeps its own batches.
        precision: The precision of the backbone's layers that run in every epoch: "float32",
            or "bfloat16" or "float16", which are faster on GPUs and TPUs made for them. Weights,
            the head and the probabilities stay in float32; for float16 the loss is scaled, so that
            small gradients do not vanish. The trained classifier computes in float32.
        freeze: Selects the backbone layers to freeze; see `tlkit.freezing`.
        batchnorm: The policy of BatchNormalization in the other layers: "frozen", "train" or
            "reestimate"; see `tlkit.freezing.plan`.
        optimizer: A Keras optimizer's name, or an optimizer; each phase uses a new copy.
        loss: Any Keras loss; by default cross-entropy for the labels' form, integer or one-hot.
        metrics: Keras metrics, besides the loss.
        class_weight: Weights of the classes in the loss: one for each class in order, or by class
            index, where missing classes have weight 1. "balanced" gives every class the same total
            weight: `n / (k * n_c)` for `n` training images of `k` classes, `n_c` of them of this
            class, as in scikit-learn. The probabilities then assume that all classes are equally
            frequent.
        callbacks: Keras callbacks.
        patience: Number of epochs without an improvement of `monitor` after which training stops
            and the best weights are restored. None trains all epochs and keeps the last weights.
        monitor: The metric that `patience` watches, such as "val_loss".

    Raises:
        ConfigError: A value is invalid.

    Examples:
        >>> Phase(epochs=5, learning_rate=1e-5, freeze=freezing.first(100)).batchnorm
        'frozen'
    """

    epochs: int = 1
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None
    schedule: optimizers.Schedule = "constant"
    warmup: float = 0.0
    layer_decay: float = 1.0
    weight_decay: float | None = None
    global_clipnorm: float | None = None
    label_smoothing: float = 0.0
    ema_momentum: float | None = None
    augmentation: tuple[keras.layers.Layer, ...] = ()
    batch_size: int = 32
    precision: Precision = "float32"
    freeze: freezing.Select = freezing.everything
    batchnorm: freezing.BatchNormPolicy = "frozen"
    optimizer: str | keras.optimizers.Optimizer = "adam"
    loss: str | Callable[..., Any] | None = None
    metrics: tuple[Any, ...] = ("accuracy",)
    class_weight: ClassWeight | None = None
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    patience: int | None = None
    monitor: str = "val_loss"

    def __post_init__(self) -> None:
        arguments.at_least("epochs", self.epochs, 1)
        arguments.at_least("batch_size", self.batch_size, 1)
        arguments.one_of("precision", self.precision, get_args(Precision))
        arguments.one_of("batchnorm", self.batchnorm, get_args(freezing.BatchNormPolicy))
        if self.patience is not None:
            arguments.at_least("patience", self.patience, 0)
        self._check_rates()
        if not callable(self.freeze):
            raise ConfigError(
                "`freeze` must be a function from a backbone to its frozen layers, such as "
                f"tlkit.freezing.first(100), got {show(self.freeze)}."
            )
        if not isinstance(self.metrics, tuple | list):
            raise ConfigError(f"`metrics` must be a tuple of metrics, got {show(self.metrics)}.")
        object.__setattr__(self, "class_weight", class_weights.check(self.class_weight))
        _check_callbacks(self.callbacks)
        _check_augmentation(self.augmentation)
        self.create_optimizer()

    @check_arguments
    def weigh_classes(self, num_classes: int) -> dict[int, float] | None:
        """Return the weight of each class by its index; None if there are no weights.

        Raises:
            ConfigError: `class_weight` does not fit the number of classes.
        """
        return class_weights.expand(self.class_weight, num_classes)

    def _check_rates(self) -> None:
        if isinstance(self.learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            if self.schedule != "constant" or self.warmup:
                raise ConfigError(
                    "`learning_rate` must be a number if `schedule` or `warmup` is set, got "
                    f"{type(self.learning_rate).__name__}."
                )
        elif self.learning_rate is not None:
            arguments.positive("learning_rate", self.learning_rate)
        arguments.one_of("schedule", self.schedule, get_args(optimizers.Schedule))
        if arguments.fraction("label_smoothing", self.label_smoothing) and self.loss is not None:
            raise ConfigError(
                "`label_smoothing` must be left out with `loss`, which it would not change. Smooth "
                "labels in that loss, as keras.losses.CategoricalCrossentropy can."
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

    @check_arguments
    def create_optimizer(self, steps: int | None = None) -> keras.optimizers.Optimizer:
        """Create an optimizer with this phase's settings.

        Args:
            steps: The number of steps in an epoch, for `schedule` and `warmup`.
        """
        settings = {
            "weight_decay": self.weight_decay,
            "global_clipnorm": self.global_clipnorm,
            "use_ema": None if self.ema_momentum is None else True,
            "ema_momentum": self.ema_momentum,
        }
        settings = {name: value for name, value in settings.items() if value is not None}
        create = partial(optimizers.create_optimizer, self.optimizer, settings=settings)
        fresh = create(learning_rate=self.learning_rate)
        if steps is None or (self.schedule == "constant" and not self.warmup):
            return fresh
        rate = optimizers.create_schedule(
            float(keras.ops.convert_to_numpy(fresh.learning_rate)),
            schedule=self.schedule,
            warmup_steps=round(self.warmup * steps),
            steps=self.epochs * steps,
        )
        return create(learning_rate=rate)


@check_arguments
@dataclass(frozen=True, kw_only=True)
class SolvedHead:
    """A phase that computes the best linear head on the frozen backbone instead of training it.

    The head must be one dense layer followed by the class probabilities.

    Attributes:
        solver: "lbfgs" for logistic regression, "ridge" for ridge regression, which is exact in one
            step; see `tlkit.training.solvers`. "auto" is "lbfgs", or "ridge" for a head of more
            than 8 million weights (features x classes), for which L-BFGS would take hours.
        class_weight: As for `Phase`. The metrics count each image once.
        augmentation: Keras preprocessing layers that change the raw images at random; they need
            `Cache(views=k)`, which stores k augmented copies of each image for the solver.
        batch_size: Number of images that the backbone runs at a time, for arrays; a dataset keeps
            its own batches.
        callbacks: Keras callbacks; they see one epoch without batches.

    Raises:
        ConfigError: A value is invalid.

    Examples:
        >>> SolvedHead(solver="ridge").batch_size
        32
    """

    solver: solvers.SolverChoice = "auto"
    class_weight: ClassWeight | None = None
    augmentation: tuple[keras.layers.Layer, ...] = ()
    batch_size: int = 32
    callbacks: tuple[keras.callbacks.Callback, ...] = ()

    def __post_init__(self) -> None:
        arguments.one_of("solver", self.solver, get_args(solvers.SolverChoice))
        object.__setattr__(self, "class_weight", class_weights.check(self.class_weight))
        arguments.at_least("batch_size", self.batch_size, 1)
        _check_callbacks(self.callbacks)
        _check_augmentation(self.augmentation)
        refuse_mixing(self.augmentation, "in a SolvedHead")

    @check_arguments
    def weigh_classes(self, num_classes: int) -> dict[int, float] | None:
        """Return the weight of each class by its index; None if there are no weights.

        Raises:
            ConfigError: `class_weight` does not fit the number of classes.
        """
        return class_weights.expand(self.class_weight, num_classes)


@check_arguments
def plan_freezing(model: keras.Model, phase: Phase | SolvedHead) -> freezing.FreezePlan:
    """Return which layers of a classifier's backbone a phase freezes, without changing them.

    Args:
        model: A classifier from build_classifier.
        phase: The phase; a SolvedHead freezes the whole backbone.

    Raises:
        ConfigError: The phase selects more layers than there are, or layers of another model.
    """
    if isinstance(phase, SolvedHead):
        return freezing.plan(backbone_of(model), freezing.everything)
    return freezing.plan(backbone_of(model), phase.freeze, batchnorm=phase.batchnorm)


def _check_callbacks(callbacks: Any) -> None:
    if not isinstance(callbacks, tuple | list) or not all(
        isinstance(each, keras.callbacks.Callback) for each in callbacks
    ):
        raise ConfigError(f"`callbacks` must be a tuple of Keras callbacks, got {show(callbacks)}.")


def _check_augmentation(augmentation: Any) -> None:
    if not isinstance(augmentation, tuple | list) or not all(
        isinstance(each, keras.Layer) for each in augmentation
    ):
        raise ConfigError(
            f"`augmentation` must be a tuple of Keras layers, got {show(augmentation)}."
        )
