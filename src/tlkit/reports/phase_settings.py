"""The settings of a phase as text, for the table of a report."""

from collections.abc import Callable
from typing import Any

import keras

from tlkit._internal.signatures import check_arguments
from tlkit.models.freezing import FreezePlan
from tlkit.training.phase import Phase, SolvedHead

_BATCHNORM = {
    "frozen": "frozen: statistics, scales and offsets of pretraining are used and kept",
    "train": "trained: statistics of each batch are used, and the moving averages are updated",
    "reestimate": "trained, and its statistics are estimated again at the end",
}
_SOLVERS = {
    "auto": "logistic regression, solved by L-BFGS; ridge regression for a very large head",
    "lbfgs": "logistic regression, solved by L-BFGS",
    "ridge": "ridge regression on class indicators, solved in closed form",
}


@check_arguments
def describe_settings(
    phase: Phase | SolvedHead, plan: FreezePlan, *, multi_label: bool = False
) -> dict[str, str]:
    """Return the settings to repeat a phase with: optimizer, loss, schedule, frozen layers.

    Args:
        phase: The phase.
        plan: The layers that it froze.
        multi_label: Whether an image can have several classes, or none.

    Examples:
        >>> from tlkit import build_classifier
        >>> from tlkit.training.phase import plan_freezing
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> phase = Phase(epochs=4, learning_rate=1e-3, schedule="cosine")
        >>> describe_settings(phase, plan_freezing(model, phase))["learning-rate schedule"]
        'falls from 0.001 to 0 along a cosine'
    """
    kind = "binary cross-entropy" if multi_label else "categorical cross-entropy"
    if isinstance(phase, SolvedHead):
        return {
            "solver": _SOLVERS[phase.solver],
            "BatchNormalization": _BATCHNORM["frozen"],
            "frozen layers of the backbone": _describe_frozen(plan),
        }
    optimizer = phase.create_optimizer()
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    return {
        "optimizer": _describe_optimizer(phase, optimizer),
        "batch size": f"{phase.batch_size:,}",
        **_describe_precision(phase),
        "loss": _name_loss(phase.loss, kind) + _smoothing(phase),
        "learning-rate schedule": _describe_schedule(phase, rate),
        "BatchNormalization": _BATCHNORM[phase.batchnorm],
        "frozen layers of the backbone": _describe_frozen(plan),
    }


def _describe_optimizer(phase: Phase, optimizer: keras.optimizers.Optimizer) -> str:
    options = {
        "weight decay": phase.weight_decay,
        "norm of the gradient clipped to": phase.global_clipnorm,
        "moving average of the weights with momentum": phase.ema_momentum,
    }
    given = [f"{name} {value:g}" for name, value in options.items() if value is not None]
    return ", ".join([type(optimizer).__name__, *given])


def _describe_precision(phase: Phase) -> dict[str, str]:
    if phase.precision == "float32":
        return {}
    scaled = ", with the loss scaled" if phase.precision == "float16" else ""
    return {"arithmetic of the backbone": f"{phase.precision}{scaled}; weights and head in float32"}


def _name_loss(loss: str | Callable[..., Any] | None, default: str) -> str:
    if loss is None:
        return default
    name = loss if isinstance(loss, str) else getattr(loss, "name", type(loss).__name__)
    return str(name).replace("_", " ")


def _smoothing(phase: Phase) -> str:
    return f", label smoothing {phase.label_smoothing:g}" if phase.label_smoothing else ""


def _describe_schedule(phase: Phase, rate: float) -> str:
    if isinstance(phase.learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return type(phase.learning_rate).__name__
    shape = f"constant, {rate:.3g}"
    if phase.schedule == "cosine":
        shape = f"falls from {rate:.3g} to 0 along a cosine"
    if phase.warmup:
        shape += f", after rising from 0 in {phase.warmup:g} epochs"
    if phase.layer_decay != 1:
        shape += f"; {phase.layer_decay:g} times as high in each block nearer to the image"
    return shape


def _describe_frozen(plan: FreezePlan) -> str:
    total = len(plan.backbone.layers)
    if not plan.trained:
        return f"all {total:,}"
    if not plan.frozen:
        return f"none of {total:,}"
    return f"{len(plan.frozen):,} of {total:,}; the first that is trained is {plan.trained[0].name}"
