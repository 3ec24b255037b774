"""Verify that frozen weights are unchanged to the bit, and that all trained layers have changed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tlkit._internal.text import join_first
from tlkit.errors import TrainingError
from tlkit.models.freezing import FreezePlan


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How many weight tensors a phase changed.

    Attributes:
        moved: The number of weight tensors that changed.
        untouched: The number of the backbone's frozen tensors, all verified to be unchanged.
    """

    moved: int
    untouched: int


def hash_weights(model: keras.Model) -> dict[int, str]:
    """Return a hash of every weight of the model, with the ids of the variables as keys."""
    return {id(variable): _digest(variable) for variable in model.weights}


def verify_movement(
    model: keras.Model, plan: FreezePlan, before: dict[int, str], *, trained: bool = True
) -> Movement:
    """Compare a model's weights after a phase with their hashes from before it.

    Args:
        model: The trained classifier.
        plan: Which layers of its backbone were frozen.
        before: The hashes that `hash_weights` returned before the phase.
        trained: Whether every layer to be trained must have changed; False if its weights were
            restored.

    Raises:
        TrainingError: A frozen weight or moving statistic changed, or a layer to be trained did
            not.
    """
    changed = {key for key, digest in hash_weights(model).items() if digest != before[key]}
    backbone = plan.backbone
    trainable = {id(variable) for layer in plan.trained for variable in layer.weights}
    trainable -= {id(variable) for norm in plan.frozen_batchnorm for variable in norm.weights}
    fixed = [variable for variable in backbone.weights if id(variable) not in trainable]
    _raise_if_any(
        [variable.path for variable in fixed if id(variable) in changed],
        "Frozen weights changed during training",
        "Let the trainer compile and set `trainable`, and do not assign weights in callbacks.",
    )
    if not trained:
        return Movement(moved=len(changed), untouched=len(fixed))
    heads = [layer for layer in model.layers if layer is not backbone]
    parts = [(layer.name, layer.trainable_weights) for layer in (*heads, *plan.trained)]
    parts += [(norm.path, _statistics(norm)) for norm in plan.training_batchnorm]
    _raise_if_any(
        [name for name, weights in parts if _is_unchanged(weights, changed)],
        "Layers did not change although they were trained",
        "Their gradient is zero, or the learning rate is too small for their dtype. A backbone "
        "with random weights needs tlkit.training.batchnorm.reestimate before it is frozen.",
    )
    return Movement(moved=len(changed), untouched=len(fixed))


def _is_unchanged(variables: list[Any], changed: set[int]) -> bool:
    return bool(variables) and not any(id(variable) in changed for variable in variables)


def _statistics(norm: keras.layers.BatchNormalization) -> list[Any]:
    return [norm.moving_mean, norm.moving_variance]


def _digest(variable: Any) -> str:
    return hashlib.blake2b(keras.ops.convert_to_numpy(variable).tobytes()).hexdigest()


def _raise_if_any(names: Sequence[str], what: str, remedy: str) -> None:
    if names:
        raise TrainingError(f"{what}: {join_first(names)}. {remedy}")
