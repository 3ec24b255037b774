"""Each warning names the user's own line, however deep inside tlkit it was found."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.training.checkpoint_files import CheckpointFolder

LABELS = np.arange(40) % 10


def make_model() -> keras.Model:
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    return tlkit.build_classifier(backbone, 10, pixels=(0, 1), input_shape=(8, 8, 1))


def build_with_a_lambda(_: Path) -> None:
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x)])
    tlkit.build_classifier(backbone, 2, pixels=(0, 1))


def evaluate_weighted_images(_: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")
    data = tf.data.Dataset.from_tensor_slices((images, LABELS, np.ones(40))).batch(8)
    tlkit.evaluate(make_model(), data)


def load_a_damaged_checkpoint(folder: Path) -> None:
    states = CheckpointFolder(folder)
    for step in range(2):
        states.save({"step": step}, {"weights": np.zeros(3)})
    newest = max(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-1])
    states.load()


@pytest.mark.parametrize(
    "act",
    [build_with_a_lambda, evaluate_weighted_images, load_a_damaged_checkpoint],
)
def test_a_warning_names_the_line_that_called_tlkit(
    act: Callable[[Path], None], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning) as caught:
        act(tmp_path)
    assert {each.filename for each in caught} == {__file__}
