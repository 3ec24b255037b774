import logging

import keras
import numpy as np
import pytest

import tlkit
from tlkit._internal.logs import hide_retracing
from tlkit.training.lr_finder import find_learning_rate
from tlkit.training.phase import Phase

_ADVICE = "5 out of the last 5 calls to %s triggered tf.function retracing. Tracing is expensive"


def test_only_the_advice_is_hidden_and_only_in_the_block(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tensorflow")
    with hide_retracing():
        with hide_retracing():
            log.warning(_ADVICE, "predict")
        log.warning(_ADVICE, "predict")
        log.warning("a weight is not used")
    assert [each.getMessage() for each in caplog.records] == ["a weight is not used"]
    log.warning(_ADVICE, "predict")
    assert len(caplog.records) == 2


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the advice is TensorFlow's")
def test_many_models_in_a_process_are_evaluated_without_advice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.array([0, 1, 0, 1])
    for width in range(1, 9):
        backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(width, 3)])
        model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
        tlkit.evaluate(model, (images, labels))
        tlkit.embed(model, images)
        tlkit.fit_ood(model, (np.repeat(images, 5, axis=0), np.repeat(labels, 5)))
        tlkit.ood_scores(model, images)
    assert not [each for each in caplog.records if "retracing" in each.getMessage()]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the advice is TensorFlow's")
@pytest.mark.parametrize("cache", [None, tlkit.Cache(engine="keras")])
def test_many_models_in_a_process_are_trained_without_advice(
    caplog: pytest.LogCaptureFixture, cache: tlkit.Cache | None
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), "uint8")
    labels = np.arange(20) % 2
    trainer = tlkit.TwoPhaseTrainer(head=Phase(epochs=1, batch_size=4), seed=0, cache=cache)
    for width in range(1, 7):
        backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(width, 3)])
        model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
        trainer.fit(model, (images, labels), verbose=False)
    assert not [each for each in caplog.records if "retracing" in each.getMessage()]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the advice is TensorFlow's")
def test_learning_rates_are_found_without_advice(caplog: pytest.LogCaptureFixture) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), "uint8")
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
    for _ in range(6):
        find_learning_rate(model, Phase(), (images, np.arange(20) % 2), steps=2)
    assert not [each for each in caplog.records if "retracing" in each.getMessage()]
