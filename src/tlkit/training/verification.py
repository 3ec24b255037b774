"""Prove what a phase moved: the frozen weights to the bit, the chosen ones at all."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from tlkit._internal.text import join_first
from tlkit.errors import TrainingError
from tlkit.models.freezing import FreezePlan


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How many weight tensors a phase moved, and how many it proved to be untouched."""

    moved: int
    untouched: int


def fingerprints(model: keras.Model) -> dict[int, str]:
    """Return a digest of every weight of the model by the variable's identity."""
    return {id(variable): _digest(variable) for variable in model.weights}


def check_movement(
    model: keras.Model, plan: FreezePlan, before: dict[int, str], *, moved: bool = True
) -> Movement:
    """Compare a trained model with its fingerprints from before the phase.

    Args:
        model: The trained classifier.
        plan: What its backbone froze.
        before: The fingerprints.
        moved: Whether what was trained must have moved; not so where it was rolled back.

    Raises:
        TrainingError: A frozen weight or moving statistic changed, or a layer that was to be
            trained did not.
    """
    changed = {key for key, digest in fingerprints(model).items() if digest != before[key]}
    backbone = plan.backbone
    may_move = {id(variable) for layer in plan.trained for variable in layer.weights}
    may_move -= {id(variable) for norm in plan.frozen_batchnorm for variable in norm.weights}
    fixed = [variable for variable in backbone.weights if id(variable) not in may_move]
    _refuse(
        [variable.path for variable in fixed if id(variable) in changed],
        "moved although they were frozen",
        "Leave compiling and `trainable` to the trainer, and weights alone in callbacks.",
    )
    if not moved:
        return Movement(moved=len(changed), untouched=len(fixed))
    heads = [layer for layer in model.layers if layer is not backbone]
    _refuse(
        [
            layer.name
            for layer in (*heads, *plan.trained)
            if _stuck(layer.trainable_weights, changed)
        ]
        + [norm.path for norm in plan.training_batchnorm if _stuck(_statistics(norm), changed)],
        "did not move although they were to be trained",
        "Their gradient is zero, or the learning rate too small for their dtype. A backbone with "
        "random weights needs tlkit.training.batchnorm.reestimate before it is frozen.",
    )
    return Movement(moved=len(changed), untouched=len(fixed))


def _stuck(variables: list[Any], changed: set[int]) -> bool:
    return bool(variables) and not any(id(variable) in changed for variable in variables)


def _statistics(norm: keras.layers.BatchNormalization) -> list[Any]:
    return [norm.moving_mean, norm.moving_variance]


def _digest(variable: Any) -> str:
    return hashlib.blake2b(keras.ops.convert_to_numpy(variable).tobytes()).hexdigest()


def _refuse(names: Iterable[str], what: str, remedy: str) -> None:
    wrong = list(names)
    if wrong:
        raise TrainingError(
            f"{len(wrong)} of the model's parts {what}: {join_first(wrong)}. {remedy}"
        )
