"""A classifier of noise and one of brightness, which the tests of figures share."""

import keras
import numpy as np
import pytest
from tests.samples import small_classifier

import tlkit


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    """A classifier of grey images of 9 x 9 pixels into the classes a, b and c."""
    return small_classifier(small_backbone, class_names=["a", "b", "c"])


@pytest.fixture
def noise() -> tuple[np.ndarray, np.ndarray]:
    """Thirty images for `model`, and labels that have nothing to do with them."""
    random = np.random.default_rng(1)
    return random.integers(0, 256, (30, 9, 9, 1), "uint8"), random.integers(0, 3, 30)


@pytest.fixture
def spotter() -> keras.Model:
    """A classifier whose first class is a bright spot anywhere, its second the lack of one."""
    inputs = keras.Input((16, 16, 3))
    bright = keras.layers.Conv2D(2, 1, use_bias=False, name="bright")(inputs)
    backbone = keras.Model(inputs, keras.layers.MaxPooling2D(2, name="maps")(bright))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), class_names=["bright", "dark"])
    backbone.get_layer("bright").kernel.assign(np.full((1, 1, 3, 2), 1 / 3))
    model.get_layer("logits").kernel.assign([[1.0, -1.0], [1.0, -1.0]])
    return model


@pytest.fixture
def spots() -> tuple[np.ndarray, np.ndarray]:
    """Five images that `spotter` takes for bright; the first and third of them are."""
    images = np.zeros((5, 16, 16, 3), "uint8")
    images[:, 4:8, 4:8] = np.array([40, 60, 120, 180, 250], "uint8")[:, None, None, None]
    return images, np.array([0, 1, 0, 1, 1])
