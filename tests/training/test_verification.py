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


def test_what_was_to_move_may_and_is_counted(model: keras.Model) -> None:
    plan = _planned(model, 9, "train")  # leaves top_conv and top_bn
    before = verification.fingerprints(model)
    _nudge(
        *model.trainable_weights, tlkit.models.backbone_of(model).get_layer("top_bn").moving_mean
    )
    movement = verification.check_movement(model, plan, before)
    assert movement.moved == len(model.trainable_weights) + 1
    assert movement.untouched == sum(len(layer.weights) for layer in plan.frozen)


def test_a_statistic_that_was_to_move_and_did_not_is_named(model: keras.Model) -> None:
    plan = _planned(model, 9, "train")
    before = verification.fingerprints(model)
    _nudge(*model.trainable_weights)
    with pytest.raises(TrainingError, match="did not move .*: top_bn"):
        verification.check_movement(model, plan, before)


def test_one_bit_of_a_frozen_weight_is_enough(model: keras.Model) -> None:
    plan = _planned(model, 9, "frozen")
    before = verification.fingerprints(model)
    _nudge(*model.trainable_weights)
    verification.check_movement(model, plan, before)
    kernel = tlkit.models.backbone_of(model).get_layer("stem").kernel
    values = np.array(kernel)
    values.flat[0] = np.nextafter(values.flat[0], np.float32(np.inf))
    kernel.assign(values)
    with pytest.raises(TrainingError, match="1 of the model's parts moved .*: stem/kernel"):
        verification.check_movement(model, plan, before)


def test_a_long_list_of_names_is_cut(model: keras.Model) -> None:
    plan = _planned(model, 9, "frozen")
    before = verification.fingerprints(model)
    _nudge(*model.weights)
    with pytest.raises(TrainingError, match=r"\d\d of .* and \d\d more. Leave"):
        verification.check_movement(model, plan, before)


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
