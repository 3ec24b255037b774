import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError

_LOAD_AND_PREDICT = """
import sys, numpy, tlkit
model = tlkit.load(sys.argv[1])
images = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], model.predict(images, verbose=0))
print(" ".join(tlkit.models.class_names(model)))
"""


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    names = ["null", "eins", "zwei"]
    return tlkit.build_classifier(
        small_backbone, 3, input_shape=(9, 9, 1), pixels=(0, 1), class_names=names
    )


def test_a_fresh_process_predicts_bit_for_bit_the_same(model: keras.Model, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 1), "uint8")
    np.save(tmp_path / "images.npy", images)
    files = [tlkit.save(model, tmp_path / "m.keras"), tmp_path / "images.npy", tmp_path / "p.npy"]
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_AND_PREDICT, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["null", "eins", "zwei"]
    np.testing.assert_array_equal(np.load(files[2]), model.predict(images, verbose=0))


def test_an_optimizer_is_not_saved(model: keras.Model, tmp_path: Path) -> None:
    before = tlkit.save(model, tmp_path / "before.keras").stat().st_size
    images = np.zeros((2, 9, 9, 1), "uint8")
    trainer = tlkit.TwoPhaseTrainer(head=tlkit.Phase(epochs=1), seed=0)
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape)
    trainer.fit(model, (images, np.array([0, 1])), verbose=False)
    after = tlkit.save(model, tmp_path / "after.keras").stat().st_size
    assert abs(after - before) < 200


def test_a_failed_save_leaves_the_old_file_whole(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tlkit.save(model, tmp_path / "m.keras")
    old = path.read_bytes()

    def torn(self: keras.Model, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "save", torn)
    with pytest.raises(OSError, match="No space left"):
        tlkit.save(model, path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_files_are_named(model: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`path` must end in \.keras, got 'm.h5'"):
        tlkit.save(model, "m.h5")
    with pytest.raises(ConfigError, match="no such file"):
        tlkit.load(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ConfigError, match="that Keras can read"):
        tlkit.load(tmp_path / "text.keras")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(ConfigError, match="must carry class names"):
        tlkit.load(tmp_path / "other.keras")
