import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.samples import PROOF, skip_without

import tlkit
from tlkit.deployment import Predictor, export, exporter, formats
from tlkit.deployment.formats import litert
from tlkit.deployment.graph import Graph
from tlkit.errors import AccuracyError, ConfigError, EngineError, MissingExtraError
from tlkit.evaluation.significance import compare_correct


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A classifier with what exports get wrong: BatchNormalization, resizing, other pixels."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, 2, padding="same")(inputs)
    x = keras.layers.BatchNormalization()(x)
    backbone = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.ReLU()(x)))
    norm = backbone.layers[2]
    norm.moving_mean.assign(np.linspace(-0.5, 0.5, 8))
    norm.moving_variance.assign(np.linspace(0.1, 2, 8))
    made = tlkit.build_classifier(
        backbone,
        3,
        input_shape=(20, 24, 1),
        pixels=tlkit.models.backbones.CAFFE,
        class_names=["a", "b", 'c "&<ü'],
    )
    images, labels = _labelled(60)
    tlkit.train_phase(made, tlkit.SolvedHead(), (images, labels), verbose=False)
    tlkit.fit_ood(made, (images, labels))
    tlkit.models.inspection.probabilities_of(made).temperature = 1.7
    return made


def _labelled(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise of three brightnesses, which are the classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    bright = (60 + 80 * labels + rng.integers(-30, 31, count))[:, None, None, None]
    return (rng.random((count, 20, 24, 1)) * bright).astype("uint8"), labels


def _images(count: int, seed: int = 0) -> np.ndarray:
    return _labelled(count, seed)[0]


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Test images, some with a wrong label."""
    images, labels = _labelled(81, seed=1)
    labels[::9] = (labels[::9] + 1) % 3
    return images[..., 0], labels  # a single channel needs no axis


@pytest.mark.parametrize(
    "name",
    [
        *("litert", "onnx", "openvino"),
        pytest.param("keras", marks=pytest.mark.slow),  # TensorFlow starts in the process
        pytest.param("saved_model", marks=pytest.mark.slow),
    ],
)
def test_an_exported_file_predicts_what_the_model_does(
    name: str, model: keras.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    skip_without(name)
    target = tmp_path / f"model{formats.get(name).EXTENSION}"
    found = export(model, target, test_data=data, run_id="flowers-1")
    assert found.path == target
    images = _images(5, seed=2)
    shutil.move(tmp_path / f"{target.name}.json", tmp_path / "proof.json")  # it is in the file too
    predictor = Predictor(target)
    got = predictor.predict(images)
    np.testing.assert_allclose(got.probabilities, tlkit.predict(model, images), atol=1e-5)
    np.testing.assert_allclose(got.ood_scores, tlkit.ood_scores(model, images), atol=0.02)
    assert predictor.metadata == found.metadata
    assert predictor.class_names == ("a", "b", 'c "&<ü')
    written = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert written["run_id"] == "flowers-1"
    proof = found.proof
    assert written["proof"]["largest_difference"] == proof.largest_difference < 1e-4
    assert (proof.num_images, proof.num_pictures, proof.num_different) == (81, 12, 0)
    assert proof.comparison is not None
    accuracy = (tlkit.predict(model, data[0]).argmax(axis=1) == data[1]).mean()
    assert 0.5 < accuracy < 1
    assert proof.comparison.accuracies[0] == pytest.approx(accuracy)
    assert proof.drop == 0
    expected = "float32" if name == "keras" else "uint8"
    assert found.metadata.input_dtype == expected


@pytest.mark.slow
def test_plain_keras_needs_no_tlkit(
    model: keras.Model, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    export(model, tmp_path / "plain.keras")
    images = _images(4)
    np.save(tmp_path / "images.npy", images)
    code = f"""
import sys
sys.modules["tlkit"] = None
import keras, numpy as np
model = keras.saving.load_model({str(tmp_path / "plain.keras")!r})
np.savez({str(tmp_path / "out.npz")!r}, **model.predict(np.load({str(tmp_path / "images.npy")!r})))
"""
    run_python(code)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["probabilities"], tlkit.predict(model, images), atol=1e-6)
        np.testing.assert_allclose(out["ood_score"], tlkit.ood_scores(model, images), atol=0.02)


@pytest.mark.slow
def test_float16_halves_the_weights(model: keras.Model, tmp_path: Path) -> None:
    skip_without("litert")
    proof = export(model, tmp_path / "model.tflite", precision="float16").proof
    assert proof.tolerance == 1e-2
    assert 0 < proof.largest_difference < 1e-2


@pytest.mark.parametrize("name", ["litert", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_is_compared_by_its_accuracy(
    name: str, model: keras.Model, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    skip_without(name, *(["nncf"] if name == "openvino" else []))
    target = tmp_path / f"model{formats.get(name).EXTENSION}"
    how = {"precision": "int8", "calibration_data": _images(40, seed=3), "test_data": data}
    limit = {"litert": 0.1, "openvino": 0.3}[name]  # of eight channels, each counts
    found = export(model, target, max_drop=limit, **how)
    assert found.proof.agreement > 1 - limit
    assert found.proof.drop is not None and found.proof.drop <= limit
    assert not found.metadata.has_ood_score
    predicted = Predictor(target).predict(data[0])
    accuracy = (predicted.probabilities.argmax(axis=1) == data[1]).mean()
    assert found.proof.comparison is not None
    assert found.proof.comparison.accuracies[1] == pytest.approx(accuracy)
    assert len(np.unique(predicted.probabilities)) > 100  # the head is not of 8 bits


def test_a_broken_converter_is_found_and_nothing_is_written(
    model: keras.Model,
    data: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_without("litert")
    write, factor = litert.write, 1.02

    def break_it(graph: Graph, path: Path) -> None:
        kernel = graph.plain.body.layers[-2].weights[0]
        before = kernel.numpy()
        kernel.assign(before * factor)
        try:
            write(graph, path)
        finally:
            kernel.assign(before)

    monkeypatch.setattr(litert, "write", break_it)
    with pytest.raises(EngineError, match=r"within 0.0001, got a probability that is .* off"):
        export(model, tmp_path / "model.tflite", test_data=data)
    assert not list(tmp_path.iterdir())
    factor = -1
    with pytest.raises(AccuracyError, match="less accurate by at most 0, got 0"):
        export(
            model,
            tmp_path / "model.tflite",
            test_data=(data[0], tlkit.predict(model, data[0]).argmax(axis=1)),
            tolerance=1,
            max_drop=0,
        )
    assert not list(tmp_path.iterdir())


def test_a_file_that_needs_keras_is_not_written(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without("litert")
    from tlkit.deployment import proof

    monkeypatch.setattr(proof, "_FORBIDDEN", (*proof._FORBIDDEN, "ai_edge_litert", "tensorflow"))
    with pytest.raises(EngineError, match="must run in a process without Keras, but it failed"):
        export(model, tmp_path / "model.tflite")


@pytest.mark.parametrize(
    "name",
    ["litert", *(pytest.param(name, marks=pytest.mark.slow) for name in ("onnx", "openvino"))],
)
def test_a_model_of_any_size_takes_any_size(name: str, tmp_path: Path) -> None:
    skip_without(name)
    backbone = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    model = tlkit.build_classifier(
        backbone, 2, input_shape=(None, None, 4), value_range=(0, 1), pixels=(0, 1)
    )
    target = tmp_path / f"model{formats.get(name).EXTENSION}"
    found = export(model, target)
    assert found.proof.num_images == 80  # of two sizes
    images = np.random.default_rng(0).random((2, 31, 17, 4), "float32")
    got = Predictor(target).predict(images).probabilities
    np.testing.assert_allclose(got, tlkit.predict(model, images), atol=1e-5)


def test_an_earlier_export_is_replaced_and_another_folder_is_not(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "prove", lambda *_, **__: PROOF)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(ConfigError, match="holds other files"):
        export(model, folder)
    (folder / "notes.txt").unlink()
    export(model, folder)
    before = {each.relative_to(folder) for each in folder.rglob("*")}
    export(model, folder)
    assert {each.relative_to(folder) for each in folder.rglob("*")} == before


def test_a_multi_label_file_keeps_its_thresholds(tmp_path: Path) -> None:
    skip_without("litert")
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    model = tlkit.build_classifier(
        backbone, 3, input_shape=(8, 8, 3), pixels=(0, 1), multi_label=True
    )
    tlkit.models.inspection.probabilities_of(model).thresholds = (0.1, 0.5, 0.9)
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), "uint8")
    labels = (tlkit.predict(model, images) >= [0.1, 0.5, 0.9]).astype(int)
    found = export(model, tmp_path / "model.tflite", test_data=(images, labels))
    assert found.proof.comparison is not None
    assert found.proof.comparison.accuracies == (1, 1)
    predicted = Predictor(tmp_path / "model.tflite").predict(images)
    names = [tuple(str(at) for at in np.flatnonzero(row)) for row in labels]
    assert [each.labels for each in predicted] == names


@pytest.mark.parametrize(
    ("path", "settings", "message"),
    [
        ("model.pt", {}, "`path` must end in one of .*tflite.* got .*model.pt"),
        ("a.onnx", {"format": "onyx"}, "`format` must be one of .*Did you mean 'onnx'"),
        ("a.onnx", {"format": "litert"}, "`path` must end in .tflite for the format 'litert'"),
        ("a.keras", {"precision": "int8"}, "`precision` must be one of .*'float32'.*got 'int8'"),
        ("a.tflite", {"precision": "int8"}, "`calibration_data` must be images like those"),
        ("a.tflite", {"max_drop": 0.1}, "`max_drop` needs labelled test images"),
        ("a.tflite", {"tolerance": -1}, "`tolerance` must be a number above 0"),
        ("a.tflite", {"input_dtype": "int8"}, "`input_dtype` must be one of"),
        ("a.tflite", {"source": "missing.keras"}, "`source` must be a file"),
    ],
)
def test_a_wrong_argument_is_refused(
    model: keras.Model, tmp_path: Path, path: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export(model, tmp_path / path, **settings)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("litert", "ai_edge_litert", "litert"),
        ("onnx", "onnxruntime", "onnx"),
        ("openvino", "openvino", "openvino"),
    ],
)
def test_a_missing_package_is_named_before_anything_is_converted(
    name: str,
    module: str,
    extra: str,
    model: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in (module, *formats.get(name).NEEDS):
        monkeypatch.setitem(sys.modules, each, None)
    monkeypatch.setattr(formats.get(name), "write", None)
    with pytest.raises(MissingExtraError, match=rf"Run: pip install 'tlkit\[{extra}\]'"):
        export(model, tmp_path / f"model{formats.get(name).EXTENSION}")


def test_files_made_from_images_are_not_counted_as_test_images() -> None:
    comparison = compare_correct(np.ones(67, bool), np.ones(67, bool))
    proof = replace(PROOF, num_images=67, num_pictures=12, comparison=comparison)
    assert str(proof).startswith(
        "run without Keras on 67 labelled test images in batches of 1, 7, 32, and on 12 files made "
        "from them, of other sizes and modes\n"
    )
    assert "made from them" not in str(replace(proof, num_pictures=0))
