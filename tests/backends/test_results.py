"""What is done with a trained classifier, on the backend that KERAS_BACKEND names."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.backends.conftest import DATA, HELD_OUT
from tests.samples import skip_without, small_classifier

import tlkit
from tlkit import plotting, recipes
from tlkit._internal.backends import BACKENDS
from tlkit._internal.optional import installed
from tlkit.cli import app
from tlkit.deployment import Predictor, formats
from tlkit.errors import ConfigError

BACKEND = keras.backend.backend()
elsewhere = pytest.mark.skipif(
    BACKEND == "tensorflow", reason="tests/experiments and tests/deployment have TensorFlow's"
)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_are_resized_as_by_hand(dtype: str) -> None:
    grey = np.arange(0, 240, 10).reshape(1, 4, 6, 1).astype(dtype)
    double = tlkit.GrayToRGBResize((8, 12), interpolation="nearest")(grey)
    expected = np.repeat(np.repeat(np.repeat(grey, 2, 1), 2, 2), 3, 3) / 255
    np.testing.assert_allclose(keras.ops.convert_to_numpy(double), expected, atol=1e-6)


def test_a_prediction_is_what_the_layers_compute(model: keras.Model) -> None:
    rows = tlkit.predict(model, HELD_OUT[0])
    *_, dense, _ = model.layers
    logits = tlkit.embed(model, HELD_OUT[0]) @ dense.get_weights()[0] + dense.get_weights()[1]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(rows, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    found = tlkit.evaluate(model, HELD_OUT)
    assert found.accuracy == np.mean(rows.argmax(axis=1) == HELD_OUT[1])


def test_a_saved_classifier_predicts_the_same(model: keras.Model, tmp_path: Path) -> None:
    file = tlkit.save(model, tmp_path / "model.keras")
    rows = tlkit.predict(model, DATA[0])
    np.testing.assert_array_equal(tlkit.predict(tlkit.load(file), DATA[0]), rows)


def test_a_probe_classifies_stripes(model: keras.Model) -> None:
    found = tlkit.probe(model, DATA)
    assert {each.layer for each in found.layers} == {"top_bn"}
    assert max(each.accuracy for each in found.layers) > 0.8


def test_grad_cam_is_the_sum_of_maps_weighted_by_the_heads_kernel() -> None:
    keras.utils.set_random_seed(1)
    maps = keras.layers.Conv2D(5, 3, padding="same", name="maps")
    backbone = keras.Sequential([keras.Input((9, 9, 3)), maps])
    model = small_classifier(backbone)
    images, classes = DATA[0][:6], np.arange(6) % 3
    *_, dense, _ = model.layers
    rgb = np.repeat(images / 255, 3, axis=-1).astype("float32")
    values = keras.ops.convert_to_numpy(maps(rgb))
    # pooling is a mean, so the logit's gradient is the kernel at each position, but for a factor
    weights = dense.get_weights()[0].T[classes][:, None, None]
    sums = np.maximum((values * weights).sum(axis=-1), 0)
    highest = sums.max(axis=(1, 2), keepdims=True)
    assert (highest > 0).sum() > 2  # elsewhere all of the image is evidence for other classes
    heat = plotting.grad_cam(model, images, classes)
    np.testing.assert_allclose(heat, sums / np.where(highest > 0, highest, 1), atol=1e-5)


@elsewhere
@pytest.mark.parametrize("name", [each for each in formats.names() if each != "web"])
def test_an_export_predicts_the_same_or_is_refused_with_what_to_do(
    model: keras.Model, tmp_path: Path, name: str
) -> None:
    target = tmp_path / f"model{formats.get(name).EXTENSION}"
    if BACKEND not in formats.backends(name):
        message = f"'{name}' in float32 needs Keras' TensorFlow backend, got '{BACKEND}'"
        with pytest.raises(ConfigError, match=message):
            tlkit.export(model, target, format=name)
        return
    module = formats.get(name)
    for package in {"tensorflow": module.NEEDS, **module.NEEDS_ON}[BACKEND]:
        if not installed(package):
            pytest.skip(f"{package} is not installed")
    tlkit.export(model, target, format=name)
    rows = Predictor(target).predict(HELD_OUT[0]).probabilities
    np.testing.assert_allclose(rows, tlkit.predict(model, HELD_OUT[0]), atol=1e-4)


@elsewhere
def test_few_images_learns_digits(small_backbone: keras.Model) -> None:
    digits = tlkit.datasets.digits().train.take(slice(0, 96))
    recipe = recipes.few_images(epochs=(2, 1), backbone=small_backbone)
    run = recipe.train(digits, pixels=(0, 1), verbose=False).run
    assert run.history["phase"] == ["head", "head", "fine_tune"]
    first, second, third = run.history["loss"]
    assert first > second > third


@elsewhere
def test_the_command_trains_by_fast_and_writes_a_report(
    small_backbone: keras.Model, photos: Path, tmp_path: Path
) -> None:
    small_backbone.save(tmp_path / "small.keras")
    run = tmp_path / "run"
    words = ["train", str(photos), "--recipe", "fast", "--out", str(run), "--image-size", "16"]
    words += ["--backbone", str(tmp_path / "small.keras"), "--pixels", "0", "1"]
    assert app.main(words) == app.DONE
    assert json.loads((run / "metrics.json").read_text())["accuracy"] > 0.9
    environment = json.loads((run / "config.json").read_text())["environment"]
    assert environment["keras_backend"] == BACKEND
    assert environment[BACKEND]  # its version
    assert "Grad-CAM" in (run / "report.md").read_text()


def test_a_backend_that_is_not_installed_is_named_with_the_way_out(
    run_python: Callable[..., str],
) -> None:
    missing = [name for name in BACKENDS if not installed(name)]
    if not missing:
        pytest.skip("all backends are installed")
    code = (
        "import tlkit\n"
        "try:\n"
        "    tlkit.build_classifier\n"
        "except tlkit.errors.MissingExtraError as error:\n"
        "    print(error)\n"
        "from tlkit.cli import app\n"
        "print(app.main(['inspect', '.', '--weights', 'starter']))\n"
    )
    error, code = run_python(code, KERAS_BACKEND=missing[0]).splitlines()
    assert error.startswith(f"Keras is set to run on '{missing[0]}', which is not installed")
    assert "KERAS_BACKEND=" in error and error.endswith(f"pip install 'tlkit[{missing[0]}]'")
    assert code == str(app.WRONG_ARGUMENTS)


def test_tensorflow_is_imported_on_its_own_backend_only() -> None:
    skip_without("keras")
    if BACKEND != "tensorflow" and installed("tensorflow"):
        pytest.skip("Keras itself imports TensorFlow where it is installed, to seed it")
    assert ("tensorflow" in sys.modules) == (BACKEND == "tensorflow")
