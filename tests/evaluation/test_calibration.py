from pathlib import Path

import keras
import numpy as np
import pytest
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit import Phase, train_phase
from tlkit.errors import ConfigError
from tlkit.evaluation import calibration
from tlkit.models.inspection import probabilities_of
from tlkit.models.layers import ClassProbabilities

DATA = make_noise(60)


@pytest.fixture
def overconfident(small_backbone: keras.Model) -> keras.Model:
    """A classifier whose confidences are far too high."""
    model = small_classifier(small_backbone)
    model.get_layer("logits").kernel.assign(50 * model.get_layer("logits").kernel)
    return model


def test_calibration_lowers_confidences_and_keeps_predictions(
    overconfident: keras.Model, tmp_path: Path
) -> None:
    images, labels = DATA
    before = tlkit.evaluate(overconfident, (images, labels))
    found = calibration.calibrate(overconfident, (images, labels))
    after = tlkit.evaluate(overconfident, (images, labels))
    assert found.temperature > 2
    assert found.loss == pytest.approx((before.loss, after.loss))
    assert found.calibration_error == pytest.approx(
        (before.calibration_error, after.calibration_error)
    )
    assert after.loss < before.loss
    np.testing.assert_array_equal(after.confusion, before.confusion)
    logits = np.log(before.probabilities.astype("float64"))
    scaled = np.exp(logits / found.temperature)
    np.testing.assert_allclose(
        after.probabilities, scaled / scaled.sum(axis=1, keepdims=True), atol=1e-5
    )
    assert str(found).startswith(f"calibrated by temperature {found.temperature:.3f}: ")
    loaded = tlkit.load(tlkit.save(overconfident, tmp_path / "model.keras"))
    assert probabilities_of(loaded).temperature == found.temperature
    np.testing.assert_allclose(tlkit.predict(loaded, images), after.probabilities, atol=1e-6)


def test_fewer_than_ten_misclassified_images_give_no_temperature(
    overconfident: keras.Model,
) -> None:
    images, _ = DATA
    labels = tlkit.predict(overconfident, images).argmax(axis=1)
    labels[:9] = (labels[:9] + 1) % 3
    found = calibration.calibrate(overconfident, (images, labels))
    assert (found.num_misclassified, found.temperature, found.loss[0]) == (9, 1.0, found.loss[1])
    assert probabilities_of(overconfident).temperature == 1.0
    assert str(found) == (
        "confidences stay as trained: a temperature needs 10 misclassified validation images, "
        "found 9"
    )
    labels[9] = (labels[9] + 1) % 3
    assert calibration.calibrate(overconfident, (images, labels)).temperature != 1.0


def test_calibrating_again_and_training_start_from_temperature_one(
    overconfident: keras.Model,
) -> None:
    first = calibration.calibrate(overconfident, DATA)
    assert calibration.calibrate(overconfident, DATA) == first
    train_phase(overconfident, Phase(learning_rate=1e-6), DATA, verbose=False)
    assert probabilities_of(overconfident).temperature == 1.0


def test_a_temperature_of_one_changes_no_bit() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    layer = ClassProbabilities(["a", "b", "c"])
    np.testing.assert_array_equal(layer(logits), keras.ops.softmax(logits))
    half = ClassProbabilities(["a", "b", "c"], temperature=2.0)
    np.testing.assert_allclose(half(2 * logits), layer(logits), rtol=1e-6)
    with pytest.raises(ConfigError, match="`temperature` must be a number above 0"):
        ClassProbabilities(["a", "b"], temperature=0)
