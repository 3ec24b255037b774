import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.deployment.images import (
    encode,
    make_picture,
    make_png_header,
    make_tiff_of_five_channels,
)
from tests.samples import skip_without

import tlkit
from tlkit.deployment import Predictor, export
from tlkit.errors import ConfigError, DataError, MissingExtraError


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    backbone = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3)])
    made = tlkit.build_classifier(
        backbone, 3, input_shape=(20, 24, 3), pixels=(-1, 1), class_names=["cat", "dog", "owl"]
    )
    images = np.random.default_rng(0).integers(0, 256, (40, 20, 24, 3), "uint8")
    tlkit.fit_ood(made, (images, np.arange(40) % 3))
    return made


@pytest.fixture(scope="module")
def file(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    skip_without("litert")
    return export(model, tmp_path_factory.mktemp("export") / "model.tflite", fit="crop").path


@pytest.fixture(scope="module")
def predictor(file: Path) -> Predictor:
    return Predictor(file)


def test_every_kind_of_image_gets_what_predict_says(
    model: keras.Model, predictor: Predictor, tmp_path: Path
) -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 24, 3), "uint8")
    path = tmp_path / "a.jpg"
    make_picture().save(path)
    several = [
        str(path),
        path,
        path.read_bytes(),
        make_picture("RGBA"),
        make_picture("L", (9, 200)),
        array,
    ]
    got = predictor.predict(several, batch_size=2)
    expected = tlkit.predict(model, several, fit="crop")  # as the file says
    np.testing.assert_allclose(got.probabilities, expected, atol=1e-5)
    assert got.ood_scores is not None
    scores = tlkit.ood_scores(model, several, fit="crop")
    np.testing.assert_allclose(got.ood_scores, scores, atol=0.03)
    for one in several:
        assert len(predictor.predict(one)) == 1
    assert len(predictor.predict(tmp_path)) == 1
    squashed = predictor.predict(path, fit="squash").probabilities
    np.testing.assert_allclose(squashed, tlkit.predict(model, path), atol=1e-5)


def test_a_prediction_names_classes(predictor: Predictor) -> None:
    found = predictor.predict([make_picture(), make_picture("L")])
    first = found[0]
    order = np.argsort(-found.probabilities[0])
    names = np.array(["cat", "dog", "owl"])[order].tolist()
    assert [name for name, _ in first.top(2)] == names[:2]
    assert first.label == names[0] == found.labels[0]
    assert first.probability == found.probabilities[0].max()
    assert first.labels is None
    assert first.is_unlike == (first.ood_score > 0.95)  # type: ignore[operator]
    assert [each.label for each in found] == found.labels
    assert list(first.to_dict(top=3)) == ["classes", "ood_score", "is_unlike"]
    with pytest.raises(ConfigError, match="`count` must be a whole number of at least 1"):
        first.top(0)


def test_float_pixels_must_be_whole_numbers_for_a_file_of_bytes(predictor: Predictor) -> None:
    array = np.random.default_rng(0).integers(0, 256, (2, 20, 24, 3)).astype("float64")
    same = predictor.predict(array.astype("uint8")).probabilities
    assert np.array_equal(predictor.predict(array).probabilities, same)
    with pytest.raises(DataError, match="whole numbers from 0 to 255"):
        predictor.predict(array * 0.99)
    with pytest.raises(DataError, match=r"must lie in \[0, 255\]"):
        predictor.predict(array + 1000)


def test_a_file_of_floats_takes_fractions(model: keras.Model, tmp_path: Path) -> None:
    skip_without("litert")
    path = export(model, tmp_path / "model.tflite", input_dtype="float32").path
    array = np.random.default_rng(0).random((2, 20, 24, 3)) * 255
    got = Predictor(path).predict(array).probabilities
    np.testing.assert_allclose(got, tlkit.predict(model, array), atol=1e-5)


def test_threads_share_a_predictor(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (1 + at % 5, 20, 24, 3), "uint8") for at in range(40)]
    alone = [predictor.predict(each).probabilities for each in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda each: predictor.predict(each).probabilities, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"hello, I am a text", "its image format is unknown"),
        (
            make_png_header(10_000, 10_001),
            "10,000 x 10,001 pixels, more than max_pixels=50,000,000",
        ),
        (encode(make_picture())[:200], "can't be read as an image"),
        (make_tiff_of_five_channels(), "can't be read as an image"),
    ],
    ids=["empty", "text", "100 megapixels", "cut short", "five channels"],
)
@pytest.mark.filterwarnings("ignore:Image size")  # Pillow's own limit
def test_what_is_no_image_is_named(
    predictor: Predictor, tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=rf"images\[1\].*{message}"):
        predictor.predict([make_picture(), content])
    path = tmp_path / "wrong.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"wrong.png.*{message}"):
        predictor.predict(path)


def test_two_thousand_files_at_once(predictor: Predictor) -> None:
    content = encode(make_picture(size=(24, 20)))
    found = predictor.predict([content] * 2000)
    assert len(found) == 2000
    assert np.ptp(found.probabilities, axis=0).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.onnx", None, "no such file"),
        ("empty.tflite", b"", "it is empty"),
        ("text.tflite", b"hello" * 100, "can't read"),
        ("model.bin", b"x", "name the .xml"),
        ("model.pt", b"x", "its ending is none of these"),
        ("model.keras", b"x", "can't read"),
    ],
)
def test_what_is_no_exported_file_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"`path` must be a.*{message}"):
        Predictor(tmp_path / name)


def test_a_file_without_metadata_reads_the_json_beside_it(file: Path, tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")

    @tensorflow.function(
        input_signature=[tensorflow.TensorSpec((None, 20, 24, 3), "uint8", name="images")]
    )
    def function(images: object) -> dict[str, object]:
        mean = tensorflow.reduce_mean(tensorflow.cast(images, "float32"), axis=(1, 2))
        return {"probabilities": mean, "ood_score": mean[:, 0]}

    concrete = function.get_concrete_function()
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions(
        [concrete], tensorflow.Module()
    )
    other = tmp_path / "other.tflite"
    other.write_bytes(converter.convert())
    with pytest.raises(ConfigError, match="it holds no class names and no other.tflite.json"):
        Predictor(other)
    (tmp_path / "other.tflite.json").write_bytes((file.parent / "model.tflite.json").read_bytes())
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 24, 3), "uint8")
    found = Predictor(other).predict(image)
    np.testing.assert_allclose(found.probabilities, image.mean(axis=(1, 2)), rtol=1e-5)
    (tmp_path / "other.tflite.json").write_text("{")
    with pytest.raises(ConfigError, match="whose metadata can't be read"):
        Predictor(other)


def test_a_missing_runtime_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    other = file.with_name("other.onnx")
    other.write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"Run: pip install onnxruntime"):
        Predictor(other)


def test_importing_it_needs_numpy_and_pillow_alone(run_python: Callable[..., str]) -> None:
    code = """
import sys
for name in ("imagehash", "joblib", "keras", "lazy_loader", "matplotlib", "rich", "scipy",
             "sklearn", "tensorflow", "wrapt", "typing_extensions", "pooch", "jinja2"):
    sys.modules[name] = None
import tlkit
from tlkit.deployment import Predictor
print(Predictor.__name__)
"""
    assert run_python(code).split()[-1] == "Predictor"
