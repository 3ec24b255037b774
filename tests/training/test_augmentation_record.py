import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.samples import small_classifier

import tlkit
from tlkit.training import augmentation_record

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 1), "uint8")
DATA = (IMAGES, np.arange(12) % 3)
FLIP = keras.layers.RandomFlip("horizontal")
TURN = keras.layers.RandomRotation(0.1)


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    return small_classifier(small_backbone)


def train(model: keras.Model, *augmentation: keras.layers.Layer) -> None:
    phase = tlkit.Phase(augmentation=augmentation)
    tlkit.train_phase(model, phase, DATA, seed=0, verbose=False)


def test_a_file_knows_what_its_classifier_was_trained_on(
    model: keras.Model, tmp_path: Path
) -> None:
    train(model, FLIP)
    loaded = tlkit.load(tlkit.save(model, tmp_path / "model.keras"))
    assert augmentation_record.find_untrained(loaded, [TURN, FLIP, TURN]) == ["RandomRotation"]
    train(model)
    assert augmentation_record.find_untrained(model, [FLIP]) == ["RandomFlip"]


def test_both_phases_count(model: keras.Model) -> None:
    trainer = tlkit.TwoPhaseTrainer(
        head=tlkit.Phase(augmentation=(TURN,)),
        fine_tune=tlkit.Phase(augmentation=(FLIP,), freeze=tlkit.freezing.first(5)),
        seed=0,
    )
    trainer.fit(model, DATA, verbose=False)
    assert augmentation_record.find_untrained(model, [TURN, FLIP]) == []


@pytest.mark.parametrize("use", ["predict", "evaluate", "evaluate batches"])
def test_test_time_augmentation_warns_once_of_what_was_not_trained_on(
    use: str, model: keras.Model
) -> None:
    train(model, FLIP)

    def run(*augmentation: keras.layers.Layer) -> None:
        how = {"augmentation": augmentation, "views": 1}
        if use == "predict":
            tlkit.predict(model, IMAGES, **how)
        else:
            batches = tf.data.Dataset.from_tensor_slices(DATA).batch(6)
            tlkit.evaluate(model, batches if "batches" in use else DATA, **how)

    with pytest.warns(UserWarning, match="RandomRotation, on which this classifier") as caught:
        run(FLIP, TURN)
    assert sum("RandomRotation" in str(each.message) for each in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run(FLIP)
        run()


def test_of_a_classifier_that_tlkit_did_not_train_nothing_is_known(model: keras.Model) -> None:
    assert augmentation_record.find_untrained(model, [FLIP]) == []
