from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typing_extensions import override

import tlkit
from tlkit import Phase, freezing, train_phase
from tlkit.data import batches
from tlkit.data.fixed_order import fix_order, has_fixed_order
from tlkit.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """27 images of three classes, in a folder for each class."""
    root = tmp_path_factory.mktemp("photos")
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (27, 16, 16, 3))):
        (root / "abc"[number % 3]).mkdir(exist_ok=True)
        Image.fromarray(pixels.astype("uint8")).save(root / "abc"[number % 3] / f"{number}.png")
    return root


def _read(folder: Path, **settings: Any) -> Any:
    settings = {"image_size": (16, 16), "batch_size": 8, "verbose": False, **settings}
    return keras.utils.image_dataset_from_directory(folder, **settings)


def _sorted(images: np.ndarray, labels: np.ndarray) -> list[Any]:
    return sorted(zip(images.reshape(len(images), -1).tolist(), labels.tolist(), strict=True))


def _augmented(dataset: Any) -> Any:
    flip = keras.layers.RandomFlip(seed=1)
    return dataset.map(lambda images, labels: (flip(images, training=True), labels))


def test_a_shuffle_is_seen() -> None:
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(99.0)[:, None], np.zeros(99)))
    assert has_fixed_order(dataset.batch(9))
    assert not has_fixed_order(dataset.shuffle(99).batch(9))


@pytest.mark.parametrize("label_mode", ["int", "categorical"])
def test_a_shuffled_folder_always_comes_out_in_one_order(folder: Path, label_mode: str) -> None:
    plain = batches.to_arrays(_read(folder, shuffle=False, label_mode=label_mode))
    assert has_fixed_order(_read(folder, shuffle=False))
    first, again = (
        fix_order(_read(folder, seed=seed, label_mode=label_mode), folder=folder) for seed in (1, 2)
    )
    np.testing.assert_array_equal(first.images[:], again.images[:])
    np.testing.assert_array_equal(first.labels, again.labels)
    assert _sorted(first.images[:], first.labels) == _sorted(*plain)
    assert first.batch_size == 8


class _Shuffled(keras.utils.PyDataset):
    """Shuffles between epochs, as Keras' own ImageDataGenerator does."""

    def __init__(self) -> None:
        super().__init__()
        self.order = np.arange(24)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[8 * index : 8 * index + 8]
        return np.repeat(rows, 12).reshape(-1, 2, 2, 3).astype("uint8"), rows % 3

    @override
    def on_epoch_end(self) -> None:
        self.order = np.random.default_rng(self.order[0] + 1).permutation(24)


def test_a_keras_dataset_that_shuffles_between_epochs_is_noticed() -> None:
    assert not has_fixed_order(_Shuffled())
    fixed = fix_order(_Shuffled())
    assert sorted(fixed.images[:][:, 0, 0, 0].tolist()) == list(range(24))
    np.testing.assert_array_equal(fixed.images[:][:, 0, 0, 0] % 3, fixed.labels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_augmented, "different in each epoch, .* augments"),
        (lambda dataset: dataset.repeat(), "no length. Leave out repeat"),
        (lambda dataset: dataset.filter(lambda *_: True), "no length"),
        (
            lambda dataset: dataset.map(lambda x, y: (x, y, tf.ones(tf.shape(y)[0]))),
            "image weights",
        ),
    ],
)
def test_an_order_that_can_not_be_fixed_is_explained(folder: Path, change: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fix_order(change(_read(folder)))


def _train(backbone: keras.Model, data: Any, **settings: Any) -> tuple[Any, list[np.ndarray]]:
    model = tlkit.build_classifier(backbone, 3, pixels=(0, 1), seed=0)
    phase = Phase(epochs=2, freeze=freezing.everything, **settings)
    run = train_phase(model, phase, data, validation_data=data, seed=0)
    return run, model.get_weights()


def test_a_shuffled_folder_is_cached_and_trains_as_its_arrays_do(
    small_backbone: keras.Model, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, weights = _train(small_backbone, _read(folder))
    told = capsys.readouterr().out
    assert (
        "`data` is shuffled: its 27 images were read once into a temporary file (82.9 kB), " in told
    )
    assert "`validation_data` is shuffled: its 27 images" in told
    assert run.trunk.num_computed == 54
    fixed = fix_order(_read(folder))
    _, expected = _train(small_backbone, (fixed.images[:], fixed.labels), batch_size=8)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_augmented_folder_trains_uncached_and_says_what_to_do(
    small_backbone: keras.Model, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = _train(small_backbone, _augmented(_read(folder)))
    told = capsys.readouterr().out
    assert run.trunk is None
    assert "`data` can't be cached: its images are different in each epoch" in told
    assert "phase: every epoch runs the whole model: `data` has no fixed order." in told
