from typing import get_args

import keras
import numpy as np
import pytest
from tests.samples import make_stripes, small_classifier

import tlkit
from tlkit import Cache, Phase, freezing, train_phase
from tlkit.errors import ConfigError
from tlkit.models import backbone_of
from tlkit.training import precision
from tlkit.training.precision import Precision

DATA = make_stripes(48, contrast=120)


class Watch(keras.callbacks.Callback):
    """Notes what the backbone's layers compute in, and the optimizer's class."""

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.policies = {layer.dtype_policy.name for layer in backbone_of(self.model).layers}
        self.head = self.model.layers[-2].dtype_policy.name
        self.optimizer = type(self.model.optimizer).__name__


def train(
    model: keras.Model, chosen: Precision, cache: Cache | None, epochs: int = 3
) -> tuple[list[float], Watch]:
    watch = Watch()
    phase = Phase(
        epochs=epochs,
        learning_rate=1e-2,
        precision=chosen,
        freeze=freezing.first(3),
        callbacks=(watch,),
    )
    run = train_phase(model, phase, DATA, seed=0, cache=cache, verbose=False)
    return list(run.history["loss"]), watch


@pytest.mark.parametrize("cache", [None, Cache(engine="keras")], ids=["whole", "cached"])
@pytest.mark.parametrize("chosen", ["bfloat16", "float16"])
def test_the_backbone_trains_in_16_bits_and_the_head_in_32(
    small_backbone: keras.Model, chosen: Precision, cache: Cache | None
) -> None:
    model = small_classifier(small_backbone)
    start = model.get_weights()
    expected, _ = train(model, "float32", cache)
    model.set_weights(start)
    losses, watch = train(model, chosen, cache)
    assert f"mixed_{chosen}" in watch.policies
    assert watch.head == "float32"
    assert watch.optimizer == ("LossScaleOptimizer" if chosen == "float16" else "Adam")
    assert losses != expected
    np.testing.assert_allclose(losses, expected, rtol=0.1)
    assert losses[-1] < losses[0]
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert {layer.dtype_policy.name for layer in backbone_of(model).layers} == {"float32"}


def test_a_classifier_trained_in_16_bits_predicts_in_32(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    tlkit.predict(model, DATA[0])
    train(model, "bfloat16", None, epochs=1)
    found = np.asarray(model.predict(DATA[0], verbose=0))
    twin = small_classifier(keras.models.clone_model(small_backbone))
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(found, twin.predict(DATA[0], verbose=0))


def test_an_overflow_leaves_a_step_out_and_halves_the_scale() -> None:
    optimizer = precision.scale_loss(keras.optimizers.SGD(1.0), "float16")
    weight = keras.Variable([1.0])
    optimizer.build([weight])
    optimizer.apply([keras.ops.convert_to_tensor([np.inf])], [weight])
    assert float(weight[0]) == 1
    assert float(optimizer.dynamic_scale) == 2.0**14
    assert precision.scale_loss(optimizer, "float16") is optimizer


def test_an_unknown_precision_is_refused() -> None:
    assert get_args(Precision) == ("bfloat16", "float16", "float32")
    with pytest.raises(ConfigError, match="`precision` must be one of"):
        Phase(precision="float8")  # type: ignore[arg-type]
