"""Four devices that JAX simulates on one machine train what one device trains."""

import json
import os
from collections.abc import Callable

import keras
import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError

# The batch of 36 images is divided among the devices, the last one of an epoch, of 6, is not.
_CODE = """
import json, keras, numpy as np
import tlkit
from tests.samples import make_stripes, seeded_classifier
from tlkit import Cache, Phase, TwoPhaseTrainer, freezing
from tlkit.training import use_devices

DATA, HELD_OUT = make_stripes(42, contrast=120), make_stripes(24, contrast=120, seed=1)

def train(cache):
    model = seeded_classifier()
    trainer = TwoPhaseTrainer(
        head=Phase(epochs=1, learning_rate=1e-2, batch_size=36),
        fine_tune=Phase(epochs=2, learning_rate=1e-3, batch_size=36,
                        freeze=freezing.first(2), batchnorm="train"),
        seed=3,
        cache=cache,
    )
    run = trainer.fit(model, DATA, validation_data=HELD_OUT, verbose=False)
    weights = {weight.path: np.asarray(weight).tolist() for weight in model.weights}
    return {"loss": list(run.history["loss"]), "val_loss": list(run.history["val_loss"]),
            "weights": weights, "devices": len(model.weights[0].value.devices())}

caches = [None, Cache(engine="keras")]
alone = [train(cache) for cache in caches]
count = use_devices()
print(json.dumps([count, alone, [train(cache) for cache in caches]]))
"""


@pytest.mark.skipif(keras.config.backend() != "jax", reason="only JAX shares batches")
def test_four_devices_train_what_one_trains(run_python: Callable[..., str]) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    where = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    shown = run_python(_CODE, seconds=1800, **where)
    count, alone, shared = json.loads(shown.splitlines()[-1])
    assert count == 4
    for one, several in zip(alone, shared, strict=True):
        assert (one["devices"], several["devices"]) == (1, 4)
        np.testing.assert_allclose(several["loss"], one["loss"], atol=1e-5)
        np.testing.assert_allclose(several["val_loss"], one["val_loss"], atol=1e-5)
        for path, weights in one["weights"].items():  # moving statistics are among them
            np.testing.assert_allclose(several["weights"][path], weights, atol=1e-5)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="only JAX shares batches")
def test_more_devices_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match="`count` must be at most the"):
        tlkit.training.use_devices(1000)


@pytest.mark.skipif(keras.config.backend() == "jax", reason="JAX can")
def test_other_backends_say_that_they_can_t() -> None:
    with pytest.raises(ConfigError, match="needs Keras' JAX backend"):
        tlkit.training.use_devices()
