import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.samples import SilentBar

import tlkit
from tlkit.caching import Cache
from tlkit.errors import ConfigError, EngineError
from tlkit.evaluation.head_features import HeadFeatures


def test_arrays_datasets_and_one_hot_labels_give_the_same(model: keras.Model) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 9, 9, 1), "uint8")
    labels = random.integers(0, 3, 20)
    plain = tlkit.evaluate(model, (images, labels))
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(images, labels, verbose=0)
    assert (plain.loss, plain.accuracy) == pytest.approx((loss, accuracy), rel=1e-5)
    one_hot = tlkit.evaluate(model, (images, np.eye(3)[labels]))
    dataset = tlkit.evaluate(model, tf.data.Dataset.from_tensor_slices((images, labels)).batch(7))
    for other in (one_hot, dataset):
        assert other.confusion.tolist() == plain.confusion.tolist()
        assert other.loss == pytest.approx(plain.loss, rel=1e-5)


def test_a_batch_size_below_one_is_refused(model: keras.Model) -> None:
    images = np.zeros((2, 9, 9, 1), "uint8")
    with pytest.raises(ConfigError, match="`batch_size` must be a whole number of at least 1"):
        tlkit.evaluate(model, (images, np.array([0, 1])), batch_size=0)


def test_predictions_of_keras_and_of_tlkit_do_not_disturb_each_other(model: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 9, 9), "uint8")  # no channel axis
    expected = model.predict(images, batch_size=8, verbose=0)
    for _ in range(2):
        np.testing.assert_allclose(tlkit.predict(model, images, batch_size=8), expected, atol=1e-6)
        assert tlkit.evaluate(model, (images[:7], np.arange(7) % 3)).count == 7
        np.testing.assert_allclose(
            model.predict(images[:21], batch_size=8, verbose=0), expected[:21], atol=1e-6
        )


def test_predictions_follow_a_temperature_that_is_set(model: keras.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 9, 9, 1), "uint8")
    before = tlkit.predict(model, images)
    tlkit.models.inspection.probabilities_of(model).temperature = 5.0
    after = tlkit.predict(model, images)
    assert after.max() < before.max()


def test_a_bar_is_closed_on_an_error(
    model: keras.Model, opened_bars: list[SilentBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(features: HeadFeatures, images: np.ndarray) -> None:
        features._trunk._progress.update(1, len(images))
        raise EngineError("the engine can't run the network")

    monkeypatch.setattr(HeadFeatures, "predict", predict)
    images = np.zeros((4, 9, 9, 1), "uint8")
    with pytest.raises(EngineError):
        tlkit.evaluate(model, (images, np.arange(4) % 3), cache=Cache(), verbose=True)
    assert [(bar.title, bar.is_closed) for bar in opened_bars] == [("evaluation", True)]
