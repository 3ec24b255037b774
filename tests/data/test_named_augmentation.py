from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.samples import make_stripes

import tlkit
from tlkit.data import augmentation, create_augmentation
from tlkit.data.named_augmentation import MIXING, Augmentation
from tlkit.errors import ConfigError

NAMES = get_args(Augmentation)


def make_photos(channels: int) -> np.ndarray:
    """Return smooth oblong images of 10 to 245, all the same."""
    ramp = np.linspace(10, 245, 24 * 40).reshape(24, 40)
    image = np.stack([ramp, ramp[::-1], ramp[:, ::-1]][:channels], axis=-1)
    return np.repeat(image[None], 24, axis=0).astype("float32")


@pytest.mark.parametrize("value_range", [(0, 255), (0, 1), (-1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in MIXING])
def test_images_change_each_in_its_way_and_stay_in_range(
    name: str, channels: int, value_range: tuple[float, float]
) -> None:
    if name == "randaugment" and channels == 1:
        pytest.skip("it needs colours")
    low, high = value_range
    images = low + make_photos(channels) * ((high - low) / 255)
    layers = create_augmentation([name], value_range=value_range, channels=channels)
    changed = augmentation.augment(images, layers)
    assert changed.shape == images.shape
    near = 1e-3 * (high - low)
    assert low - near <= changed.min() < changed.max() <= high + near
    moved = np.abs(changed - images).mean(axis=(1, 2, 3)) > 1e-4 * (high - low)
    assert moved.mean() > (0.25 if name in ("flip", "erase") else 0.75)
    assert len(np.unique(changed.round(3), axis=0)) >= (2 if name == "flip" else 8)
    assert layers[0].name.startswith(name)


def test_erase_leaves_about_half_of_the_images() -> None:
    layers = create_augmentation(["erase"])
    images = np.repeat(make_photos(3), 10, axis=0)
    changed = (augmentation.augment(images, layers) != images).any(axis=-1)
    share = changed.mean(axis=(1, 2))
    assert 0.35 < (share > 0).mean() < 0.65
    assert 0.01 < share[share > 0].min() < share.max() < 0.25


@pytest.mark.parametrize("name", MIXING)
def test_labels_are_mixed_as_pixels_are(name: str) -> None:
    levels = np.asarray([0.0, 40, 80, 120, 160, 200])
    images = np.broadcast_to(levels[:, None, None, None], (6, 30, 30, 3)).astype("float32")
    labels = np.eye(6, dtype="float32")
    tensors = keras.ops.convert_to_tensor(images)
    for _ in range(3):
        mixed, shares = map(
            np.asarray,
            augmentation.augment_labelled(tensors, create_augmentation([name]), labels),
        )
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), shares @ levels, atol=0.02 * 200)


def test_a_phase_trains_on_mixed_labels_and_validates_on_plain_ones(model) -> None:
    images, labels = make_stripes(96, contrast=170)
    layers = create_augmentation(["flip", "mixup", "cutmix"], channels=1)
    phase = tlkit.Phase(epochs=3, learning_rate=0.01, augmentation=layers)
    run = tlkit.train_phase(
        model, phase, (images, labels), validation_data=(images, labels), seed=0, verbose=False
    )
    plain = tlkit.evaluate(model, (images, labels))
    assert run.history["val_loss"][-1] == pytest.approx(plain.loss, rel=1e-3)
    assert run.history["val_accuracy"][-1] == pytest.approx(plain.accuracy)
    assert 0.1 < run.history["loss"][-1] < 3


def test_mixing_is_refused_where_labels_stay_as_they_are(model) -> None:
    layers = create_augmentation(["mixup"], channels=1)
    images, labels = make_stripes(12, contrast=170)
    with pytest.raises(ConfigError, match="without MixUp and CutMix in a SolvedHead"):
        tlkit.SolvedHead(augmentation=layers)
    with pytest.raises(ConfigError, match="without MixUp and CutMix in a prediction"):
        tlkit.predict(model, images, augmentation=layers)
    weighted = tlkit.Phase(augmentation=layers, class_weight=[1, 2, 1])
    with pytest.raises(ConfigError, match="`class_weight` must be left out with MixUp"):
        tlkit.train_phase(model, weighted, (images, labels), verbose=False)
    plain = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    with pytest.raises(ConfigError, match="`data` labels must be one-hot for MixUp and CutMix"):
        tlkit.train_phase(model, tlkit.Phase(augmentation=layers), plain, verbose=False)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["flop"], "Did you mean 'flip'"),
        (["flip", "flip"], "each change once"),
        (["randaugment"], "must be without randaugment for grey images"),
    ],
)
def test_wrong_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_augmentation(names, channels=1)
