import random
from dataclasses import replace

import keras
import numpy as np
import pytest
from tests.samples import make_stripes, small_classifier

import tlkit
from tlkit import Phase, SolvedHead, freezing
from tlkit.errors import ConfigError

DATA = make_stripes(60, contrast=100)


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    return small_classifier(small_backbone, pooling="flatten")


def test_a_rate_that_learns_is_found(model: keras.Model) -> None:
    found = tlkit.training.find_learning_rate(model, Phase(freeze=freezing.first(3)), DATA, seed=0)
    assert 1e-5 < found.suggestion <= 0.1
    assert len(found.rates) == len(found.losses) <= 100
    assert min(found.losses) < 0.8 * found.losses[0]


def test_the_search_ends_where_the_loss_blows_up(model: keras.Model) -> None:
    phase = Phase(optimizer="sgd", freeze=freezing.first(3))
    found = tlkit.training.find_learning_rate(model, phase, DATA, max_rate=1e12, seed=0)
    assert len(found.rates) == len(found.losses) < 100
    assert np.isfinite(found.losses).all()


def test_nothing_is_left_changed(model: keras.Model) -> None:
    model.compile("sgd", "mse")
    optimizer = model.optimizer
    backbone = tlkit.models.backbone_of(model)
    backbone.layers[1].trainable = False
    before = [np.array(each) for each in model.variables]
    flags = [layer.trainable for layer in model._flatten_layers()]
    keras.utils.set_random_seed(5)
    expected = random.random(), np.random.random(), keras.random.uniform(()).numpy()
    keras.utils.set_random_seed(5)
    tlkit.training.find_learning_rate(model, Phase(freeze=freezing.first(3)), DATA, steps=5)
    assert (random.random(), np.random.random(), keras.random.uniform(()).numpy()) == expected
    assert model.optimizer is optimizer
    assert flags == [layer.trainable for layer in model._flatten_layers()]
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_suggestion_is_a_tenth_of_the_best() -> None:
    found = tlkit.training.LearningRates(rates=(0.1, 1.0, 10.0), losses=(2.0, 1.0, 5.0))
    assert found.suggestion == pytest.approx(0.1)


def test_a_seeded_search_leaves_no_random_number_changed(model: keras.Model) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    layers = (keras.layers.RandomTranslation(0.1, 0.1, seed=3),)
    phase = Phase(freeze=freezing.first(3), augmentation=layers)
    drawn = []
    for searched in (False, True):
        keras.utils.set_random_seed(5)
        if searched:
            tlkit.training.find_learning_rate(model, phase, DATA, steps=5, seed=7)
        drawn.append(
            (
                random.random(),
                np.random.random(),
                float(keras.random.uniform(())),
                float(tensorflow.random.uniform(())),
                np.array(layers[0].generator.state).tolist(),
            )
        )
    assert drawn[0] == drawn[1]


@pytest.mark.slow
def test_the_seed_decides_the_search(model: keras.Model) -> None:
    phase = Phase(freeze=freezing.first(3), batch_size=8)
    one, same, other = (
        tlkit.training.find_learning_rate(model, phase, DATA, steps=5, seed=seed).losses
        for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.slow
def test_the_search_trains_as_the_phase_would(model: keras.Model) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    plain = Phase(freeze=freezing.first(3), batch_size=16)
    found = {
        name: tlkit.training.find_learning_rate(
            model, phase, DATA, min_rate=1e-3, max_rate=0.1, steps=6, seed=0
        ).losses
        for name, phase in {
            "plain": plain,
            "schedule": replace(plain, learning_rate=schedule),
            "decay": replace(plain, layer_decay=0.01),
            "weights": replace(plain, class_weight={0: 5.0}),
        }.items()
    }
    assert found["schedule"] == found["plain"]
    assert found["decay"] != found["plain"] != found["weights"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 1}, "`steps` must be a whole number of at least 2"),
        ({"min_rate": 2.0}, "`min_rate` must be below `max_rate`, got 2 and 1"),
    ],
)
def test_a_bad_value_is_named(model: keras.Model, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tlkit.training.find_learning_rate(model, Phase(), DATA, **settings)
    with pytest.raises(ConfigError, match="`phase` must be a Phase"):
        tlkit.training.find_learning_rate(model, SolvedHead(solver="ridge"), DATA)
