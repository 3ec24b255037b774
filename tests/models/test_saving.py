import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.samples import small_classifier

import tlkit
from tlkit.errors import ConfigError

FIXTURES = Path(__file__).parent.parent / "fixtures"

PREDICT = """
{load}
import numpy, tlkit
predicted = model.predict(numpy.load({folder!r} + "/images.npy"), verbose=0)
numpy.save({folder!r} + "/predicted.npy", predicted)
print(*tlkit.models.class_names(model), model.layers[-1].temperature)
"""

LOAD = "import tlkit; model = tlkit.load({path!r})"
LOADS_BY_KERAS = [
    "import tlkit, keras; model = keras.saving.load_model({path!r})",
    "import keras, tlkit; model = keras.saving.load_model({path!r})",
]


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    names = ["null", "eins", "zwei"]
    return small_classifier(small_backbone, class_names=names)


def predict_in_a_fresh_process(
    run_python: Callable[..., str], load: str, path: Path, images: np.ndarray, folder: Path
) -> tuple[np.ndarray, list[str]]:
    """Return the probabilities; and the class names with the temperature."""
    np.save(folder / "images.npy", images)
    load = load.format(path=str(path))
    printed = run_python(PREDICT.format(load=load, folder=str(folder)))
    return np.load(folder / "predicted.npy"), printed.splitlines()[-1].split()


def test_a_fresh_process_predicts_bit_for_bit_the_same(
    model: keras.Model, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 1), "uint8")
    path = tlkit.save(model, tmp_path / "m.keras")
    predicted, carried = predict_in_a_fresh_process(run_python, LOAD, path, images, tmp_path)
    assert carried == ["null", "eins", "zwei", "1.0"]
    np.testing.assert_array_equal(predicted, model.predict(images, verbose=0))


@pytest.mark.parametrize(
    "load", [LOAD, *(pytest.param(each, marks=pytest.mark.slow) for each in LOADS_BY_KERAS)]
)
def test_a_file_from_before_the_packages_predicts_as_it_did(
    load: str, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    with np.load(FIXTURES / "before_packages.npz") as file:
        images, expected = file["images"], file["probabilities"]
    path = FIXTURES / "before_packages.keras"
    predicted, carried = predict_in_a_fresh_process(run_python, load, path, images, tmp_path)
    assert carried == ["cat", "dog", "eel", "1.5"]
    # the file was made on another machine than most: its kernels may round the last bits otherwise
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("from_before", [False, True])
def test_a_loaded_classifier_takes_images_of_every_shape_without_a_warning(
    from_before: bool, model: keras.Model, tmp_path: Path
) -> None:
    path = FIXTURES / "before_packages.keras"
    loaded = tlkit.load(path if from_before else tlkit.save(model, tmp_path / "m.keras"))
    assert isinstance(loaded.input, keras.KerasTensor)
    sides = [side for side in loaded.input_shape[1:] if side is not None]
    shape = (9, 9, 1) if len(sides) < 3 else sides
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for count in (1, 2):
            assert loaded(np.zeros((count, *shape), "uint8")).shape[0] == count


def test_an_optimizer_is_not_saved(model: keras.Model, tmp_path: Path) -> None:
    before = tlkit.save(model, tmp_path / "before.keras").stat().st_size
    images = np.zeros((2, 9, 9, 1), "uint8")
    trainer = tlkit.TwoPhaseTrainer(head=tlkit.Phase(epochs=1), seed=0)
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape)
    trainer.fit(model, (images, np.array([0, 1])), verbose=False)
    after = tlkit.save(model, tmp_path / "after.keras").stat().st_size
    assert (
        abs(after - before) < 2000
    )  # what it was trained on; an optimizer takes twice the weights


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


def test_wrong_files_are_refused_by_name(model: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`path` must end in \.keras, got 'm.h5'"):
        tlkit.save(model, "m.h5")
    with pytest.raises(ConfigError, match="no such file"):
        tlkit.load(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ConfigError, match=r"it is a folder"):
        tlkit.load(tmp_path / "folder.keras")
    with pytest.raises(ConfigError, match=r"must be a file, got the folder .*model.keras"):
        tlkit.save(model, tmp_path / "folder.keras")
    with pytest.raises(ConfigError, match=r"must be in a folder, .*text.keras' is a file"):
        tlkit.save(model, tmp_path / "text.keras" / "m.keras")
    with pytest.raises(ConfigError, match="that Keras can read"):
        tlkit.load(tmp_path / "text.keras")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(ConfigError, match="must have class names"):
        tlkit.load(tmp_path / "other.keras")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: b"", "it is empty"),
        (lambda content: content[: len(content) // 2], "it is cut short"),
        (lambda content: b"\n<!DOCTYPE html>", "it is a web page or XML"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1", ".*git lfs pull"),
        (lambda content: content[:300] + bytes(900) + content[1200:], "it may be damaged"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(
    model: keras.Model, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = tlkit.save(model, tmp_path / "new" / "folder" / "m.keras")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=rf"that Keras can read, got '.*m.keras': {words}") as got:
        tlkit.load(path)
    assert len(str(got.value)) < 500


def double(x: Any) -> Any:
    return x * 2


@keras.saving.register_keras_serializable("tests")
class Scale(keras.layers.Layer):
    def __init__(self, factor: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor(x) if callable(self.factor) else x * self.factor


class Unregistered(Scale):
    pass


@keras.saving.register_keras_serializable("tests")
class Forgetful(Scale):
    def get_config(self) -> dict[str, Any]:
        return keras.layers.Layer.get_config(self)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            lambda: keras.layers.Lambda(lambda x: x * 2, name="own"),
            "'own' is or has a Python lambda",
        ),
        (lambda: keras.layers.Lambda(double, name="own"), "'own' has the function 'double'"),
        (
            lambda: keras.layers.Activation(lambda x: x, name="own"),
            "'own' is or has a Python lambda",
        ),
        (
            lambda: keras.layers.Conv2D(3, 1, activation=double, name="own"),
            "'own' has the function",
        ),
        (lambda: Unregistered(2, name="own"), "'own' is of the class Unregistered, which is not"),
        (lambda: Scale(double, name="own"), "'own' has no complete `get_config`"),
        (lambda: Forgetful(2, name="own"), "'own' is of the class Forgetful, .*'factor'"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_what_could_not_be_loaded_is_said_before_training_and_not_saved(
    layer: Callable[[], keras.Layer], words: str, nested: bool, tmp_path: Path
) -> None:
    inner = [keras.Input((8, 8, 3)), layer()]
    parts = [inner[0], keras.Sequential(inner)] if nested else inner
    with pytest.warns(UserWarning, match=rf"trained and used, but not saved: its layer {words}"):
        model = tlkit.build_classifier(keras.Sequential(parts), 2, pixels=(0, 1))
    with pytest.raises(ConfigError, match=rf"that can be loaded again, but its layer {words}"):
        tlkit.save(model, tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


def test_registered_layers_and_functions_are_saved(tmp_path: Path) -> None:
    parts = [Scale(2), keras.layers.Lambda(keras.ops.relu), keras.layers.Rescaling(0.5)]
    backbone = keras.Sequential([keras.Input((8, 8, 3)), *parts])
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), "uint8")
    loaded = tlkit.load(tlkit.save(model, tmp_path / "m.keras"))
    np.testing.assert_array_equal(tlkit.predict(loaded, images), tlkit.predict(model, images))


def test_a_class_that_is_not_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = keras.Sequential([keras.Input((8, 8, 3)), Scale(2)])
    path = tlkit.save(tlkit.build_classifier(backbone, 2, pixels=(0, 1)), tmp_path / "m.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "tests>Scale")
    with pytest.raises(ConfigError, match=r"the class 'Scale', which is not registered here. Imp"):
        tlkit.load(path)
