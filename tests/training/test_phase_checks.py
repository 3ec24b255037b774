import keras
import numpy as np
import pytest
from tests.samples import make_noise

import tlkit
from tlkit import Phase, TwoPhaseTrainer, freezing, train_phase
from tlkit.errors import ConfigError, DataError

DATA = make_noise()
HEAD = Phase(epochs=2, learning_rate=1e-2, batch_size=8)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ((DATA[0], DATA[1][:5]), "`data` must have one label for each of the 24 images"),
        ((DATA[0][:0], DATA[1][:0]), "`data` must hold at least one image"),
        ((DATA[0], DATA[1] + 1), "`data` labels must be from 0 to 2 for 3 classes, got 3"),
        ((DATA[0] * 1.5, DATA[1]), r"`data` pixels must lie in \[0, 255\]"),
        ((DATA[0] / 255, DATA[1]), r"`data` pixels lie in \[0, 1\], but"),
        ((DATA[0] * np.nan, DATA[1]), "`data` images must be finite"),
        (DATA[0], r"`data` must be an ImageDataset, a pair \(images, labels\), or a dataset"),
    ],
)
def test_bad_data_is_named(model: keras.Model, train: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        TwoPhaseTrainer(head=HEAD).fit(model, train, verbose=False)


def test_bad_settings_are_named(model: keras.Model) -> None:
    with pytest.raises(ConfigError, match="`fine_tune` must leave some of the backbone to train"):
        TwoPhaseTrainer(head=HEAD, fine_tune=Phase(epochs=1))
    with pytest.raises(ConfigError, match="`seed` must be a whole number of at least 0"):
        TwoPhaseTrainer(head=HEAD, seed=-1)
    with pytest.raises(
        ConfigError, match="`patience` needs `validation_data`, because it watches 'val_"
    ):
        train_phase(model, Phase(epochs=1, patience=2), DATA, verbose=False)
    with pytest.raises(ConfigError, match="`freeze` must leave weights of small_backbone to train"):
        phase = Phase(epochs=1, freeze=freezing.first(11))
        train_phase(model, phase, DATA, verbose=False)
    with pytest.raises(ConfigError, match="`count` must be at most .*, got 100"):
        phase = Phase(epochs=1, freeze=freezing.first(100))
        train_phase(model, phase, DATA, verbose=False)


def test_the_second_phase_is_checked_before_the_first_starts(model: keras.Model) -> None:
    before = model.get_weights()
    for fine_tune in (
        Phase(epochs=1, freeze=freezing.first(99)),
        Phase(epochs=1, freeze=freezing.first(11)),
        Phase(epochs=1, freeze=freezing.first(6), patience=1),
        Phase(epochs=1, freeze=freezing.first(6), class_weight={"cat": 2.0}),
    ):
        with pytest.raises(ConfigError):
            TwoPhaseTrainer(head=HEAD, fine_tune=fine_tune).fit(model, DATA, verbose=False)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_class_weights_must_be_of_known_classes(model: keras.Model) -> None:
    with pytest.raises(ConfigError, match="`class_weight` must have class indices from 0 to 2"):
        train_phase(model, Phase(epochs=1, class_weight={3: 1.0}), DATA, verbose=False)


def test_validation_labels_have_the_form_of_the_training_labels(model: keras.Model) -> None:
    images, labels = DATA
    with pytest.raises(DataError, match="form of the training labels, one-hot, got integers"):
        train_phase(model, HEAD, (images, np.eye(3)[labels]), validation_data=(images, labels))


def test_what_a_later_phase_lacks_is_told_before_the_first(small_backbone: keras.Model) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    images = np.zeros((12, 16, 16, 3), "uint8")
    train = tensorflow.data.Dataset.from_tensor_slices((images, np.arange(12) % 3)).batch(4)
    unknown = train.filter(lambda images, labels: True)
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
    before = model.get_weights()
    tail = Phase(schedule="cosine", learning_rate=1e-3, freeze=freezing.first(3))
    with pytest.raises(DataError, match="`data` must have a length for `schedule` or `warmup`"):
        TwoPhaseTrainer(head=Phase(), fine_tune=tail).fit(model, unknown, verbose=False)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
