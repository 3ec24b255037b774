import logging

import keras
import numpy as np
import pytest

import tlkit
from tlkit._internal.logs import hide_retracing

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
