"""A classifier that the tests of Keras' backends share, trained once."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.samples import make_stripes, small_classifier

import tlkit
from tlkit import Cache, Phase, TwoPhaseTrainer, freezing
from tlkit.training import Run

DATA, HELD_OUT = make_stripes(40, contrast=120), make_stripes(24, contrast=120, seed=1)
HEAD = Phase(epochs=2, learning_rate=1e-2, batch_size=16)
FINE_TUNE = Phase(epochs=2, learning_rate=1e-3, batch_size=16, freeze=freezing.first(3))
SEED = 3

Train = Callable[..., tuple[keras.Model, Run]]


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a classifier with four layers in its backbone, and dropout before its head."""
    keras.utils.set_random_seed(0)
    image = keras.Input((9, 9, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="top")(x)
    x = keras.layers.BatchNormalization(name="top_bn")(x)
    file = tmp_path_factory.mktemp("untrained") / "model.keras"
    tlkit.save(small_classifier(keras.Model(image, x, name="small"), dropout=0.2), file)
    return file


@pytest.fixture(scope="session")
def train(untrained: Path) -> Train:
    """Trains the same classifier again and again in two phases; settings are the trainer's."""

    def run(cache: Cache | None, **settings: object) -> tuple[keras.Model, Run]:
        model = tlkit.load(untrained)
        settings = {"head": HEAD, "fine_tune": FINE_TUNE, "seed": SEED, **settings}
        trainer = TwoPhaseTrainer(**settings, cache=cache)
        return model, trainer.fit(model, DATA, validation_data=HELD_OUT, verbose=False)

    return run


@pytest.fixture(scope="session")
def cached(train: Train) -> tuple[keras.Model, Run]:
    """The classifier trained on features of the frozen part, which Keras has run."""
    return train(Cache(engine="keras", rewrites=False))


@pytest.fixture(scope="session")
def model(cached: tuple[keras.Model, Run]) -> keras.Model:
    """The trained classifier; tests leave it as it is."""
    assert np.isfinite(cached[1].history["loss"]).all()
    return cached[0]
