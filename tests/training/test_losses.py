import keras
import numpy as np
import pytest

from tlkit.training import losses


def test_smoothed_labels_cost_what_keras_says_of_one_hot_ones() -> None:
    labels = np.array([2, 0, 1])
    given = np.random.default_rng(0).dirichlet(np.ones(3), 3).astype("float32")
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)(np.eye(3)[labels], given)
    loss = losses.SmoothedCrossentropy(0.2)
    assert float(loss(labels, given)) == pytest.approx(float(expected), rel=1e-6)
    assert float(loss(labels[:, None], given)) == pytest.approx(float(expected), rel=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.label_smoothing == 0.2
