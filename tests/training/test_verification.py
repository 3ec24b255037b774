import keras
import numpy as np
import pytest

import tlkit
from tlkit import errors, freezing
from tlkit.errors import TrainingError
from tlkit.training import verification


def _nudge(*weights: keras.Variable) -> None:
    for weight in weights:
        weight.assign(np.asarray(weight) + 1e-3)


def _planned(model: keras.Model, frozen: int, batchnorm: str) -> freezing.FreezePlan:
    plan = freezing.plan(
        tlkit.models.backbone_of(model), freezing.first(frozen), batchnorm=batchnorm
    )
    freezing.apply(plan)
    return plan


def test_weights_that_change_as_planned_are_counted(model: keras.Model) -> None:
    plan = _planned(model, 9, "train")  # leaves top_conv and top_bn
    before = verification.hash_weights(model)
    _nudge(
        *model.trainable_weights, tlkit.models.backbone_of(model).get_layer("top_bn").moving_mean
    )
    movement = verification.verify_movement(model, plan, before)
    assert movement.moved == len(model.trainable_weights) + 1
    assert movement.untouched == sum(len(layer.weights) for layer in plan.frozen)


def test_a_moving_statistic_that_should_change_and_did_not_is_named(model: keras.Model) -> None:
    plan = _planned(model, 9, "train")
    before = verification.hash_weights(model)
    _nudge(*model.trainable_weights)
    with pytest.raises(TrainingError, match="did not change .*: top_bn"):
        verification.verify_movement(model, plan, before)


def test_a_change_of_one_bit_in_a_frozen_weight_is_found(model: keras.Model) -> None:
    plan = _planned(model, 9, "frozen")
    before = verification.hash_weights(model)
    _nudge(*model.trainable_weights)
    verification.verify_movement(model, plan, before)
    kernel = tlkit.models.backbone_of(model).get_layer("stem").kernel
    values = np.array(kernel)
    values.flat[0] = np.nextafter(values.flat[0], np.float32(np.inf))
    kernel.assign(values)
    with pytest.raises(TrainingError, match="Frozen weights changed .*: stem/kernel"):
        verification.verify_movement(model, plan, before)


def test_a_long_list_of_names_is_cut(model: keras.Model) -> None:
    plan = _planned(model, 9, "frozen")
    before = verification.hash_weights(model)
    _nudge(*model.weights)
    with pytest.raises(TrainingError, match=r"Frozen weights .* and \d\d more. Let"):
        verification.verify_movement(model, plan, before)


@pytest.mark.parametrize(
    ("error", "built_in"),
    [
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.DownloadError, ConnectionError),
        (errors.TrainingError, RuntimeError),
    ],
)
def test_an_error_is_ours_and_the_built_in_one(
    error: type[Exception], built_in: type[Exception]
) -> None:
    assert issubclass(error, errors.TlkitError)
    assert issubclass(error, built_in)
