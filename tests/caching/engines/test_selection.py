import importlib
import importlib.metadata
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tlkit import freezing
from tlkit._internal.optional import installed
from tlkit.caching.engines import compilers, keras_engine, selection
from tlkit.errors import ConfigError, DataError, EngineError, MissingExtraError
from tlkit.models.layers import GrayToRGBResize
from tlkit.training import batchnorm

COMPILED = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not all(map(installed, compiler.modules)), reason=f"{name} is not installed"
        ),
    )
    for name, compiler in compilers.COMPILERS.items()
]
tensorflow_only = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="engines compile TensorFlow's graph"
)


class Trunk(keras.Model):
    """Resizes raw images, runs a functional model on them, returns a list."""

    def __init__(self, inner: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.front = GrayToRGBResize(inner.input_shape[1:3], output_range=(-1, 1))
        self.inner = inner
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> list[Any]:
        outputs = self.inner(self.front(images), training=training)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _images(count: int, *shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape)).astype(dtype)


def _trunk(inner: keras.Model) -> Trunk:
    """Give it statistics that fit: under made-up ones BatchNormalization magnifies rounding."""
    trunk = Trunk(inner)
    batchnorm.reestimate(trunk, freezing.find_batchnorm(trunk), [_images(64, 28, 28)])
    return trunk


@pytest.fixture(scope="module")
def small() -> Trunk:
    """A depthwise-separable block; three outputs of three shapes, one of them not the last."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image)
    stem = keras.layers.ReLU(6)(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(stem)
    x = keras.layers.ReLU(6)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(8, 1, use_bias=False)(x)
    added = keras.layers.Add()([stem, keras.layers.BatchNormalization()(x)])
    pooled = keras.layers.GlobalAveragePooling2D()(added)
    return _trunk(keras.Model(image, [pooled, added, keras.layers.MaxPooling2D(2)(stem)]))


@pytest.fixture(scope="module")
def mobilenet() -> Trunk:
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None
    )
    names = ("block_10_project_BN", "out_relu", "block_3_depthwise_relu")
    return _trunk(keras.Model(model.input, [model.get_layer(name).output for name in names]))


def _expected(trunk: Trunk, images: np.ndarray) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(output) for output in trunk(images, training=False)]


def _assert_close(outputs: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.dtype == np.float32
        assert output.shape == wanted.shape
        # Random weights magnify the rounding of 50 layers to 2e-4, ImageNet's to 2e-5 (measured).
        assert np.abs(output - wanted).max() < 6e-4 * np.abs(wanted).max()


@tensorflow_only
@pytest.mark.parametrize("name", COMPILED)
def test_every_engine_gives_the_numbers_of_keras(name: str, mobilenet: Trunk) -> None:
    engine = selection.prepare(name, mobilenet, _images(16, 28, 28))
    images = _images(engine.batch_size + 3, 28, 28)
    _assert_close(engine.run(images), _expected(mobilenet, images))
    assert 0 < engine.error < 6e-4
    assert (engine.name, engine.timings) == (name, {})
    assert engine.version == selection.get_version(name)
    assert name in selection.list_installed()


@pytest.mark.parametrize("name", COMPILED)
def test_a_layer_may_hold_constants_that_are_no_weights(name: str) -> None:
    norm = keras.layers.Normalization(mean=[90.0, 100.0, 110.0], variance=[100.0, 400.0, 900.0])
    model = keras.Sequential([keras.Input((8, 8, 3)), norm, keras.layers.Conv2D(4, 3)])
    images = _images(5, 8, 8, 3, dtype="float32")
    outputs = selection.prepare(name, model, images).run(images)
    np.testing.assert_allclose(outputs[0], model.predict(images, verbose=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["keras", *COMPILED])
def test_any_number_of_images(name: str, small: Trunk) -> None:
    engine = selection.prepare(name, small, _images(2, 28, 28))
    for count in (1, engine.batch_size - 1, engine.batch_size, 2 * engine.batch_size + 1):
        images = _images(count, 28, 28)
        _assert_close(engine.run(images), _expected(small, images))


@pytest.mark.parametrize("name", ["keras", *COMPILED])
@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1), (20, 24, 3), (20, 24, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_images(name: str, shape: tuple[int, ...], dtype: str, small: Trunk) -> None:
    images = _images(5, *shape, dtype=dtype)
    _assert_close(selection.prepare(name, small, images).run(images), _expected(small, images))


def test_keras_gives_its_own_bits(mobilenet: Trunk) -> None:
    engine = selection.prepare("keras", mobilenet, _images(4, 28, 28))
    images = _images(engine.batch_size, 28, 28)
    for output, wanted in zip(engine.run(images), mobilenet.predict_on_batch(images), strict=True):
        np.testing.assert_array_equal(output, wanted)
    assert engine.error == 0
    assert engine.version.startswith(f"{keras.__version__}+{keras.config.backend()}-")


def test_keras_gives_an_image_the_same_bits_in_a_short_batch(mobilenet: Trunk) -> None:
    engine = selection.prepare("keras", mobilenet, _images(4, 28, 28))
    images = _images(engine.batch_size + 5, 28, 28)
    for whole, short in zip(engine.run(images), engine.run(images[-5:]), strict=True):
        np.testing.assert_array_equal(whole[-5:], short)


@tensorflow_only
def test_keras_is_traced_once(small: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = selection.prepare("keras", small, _images(2, 28, 28))
    monkeypatch.setattr(Trunk, "call", None)
    assert len(engine.run(_images(3, 28, 28))) == len(engine.run(_images(300, 28, 28))) == 3


@tensorflow_only
def test_batches_are_small_where_the_tensors_are_large() -> None:
    sizes = []
    for side in (32, 512):
        inner = keras.Sequential([keras.Input((side, side, 3)), keras.layers.Conv2D(8, 3)])
        sizes.append(selection.prepare("keras", Trunk(inner), _images(1, 28, 28)).batch_size)
    assert sizes == [128, 16]


@tensorflow_only
@pytest.mark.skipif(not installed("ai_edge_litert"), reason="ai_edge_litert is not installed")
def test_litert_folds_batchnorm_into_the_convolutions(small: Trunk) -> None:
    litert = importlib.import_module("ai_edge_litert.interpreter")
    function = compilers.freeze_weights(small, (4, 28, 28), np.dtype("uint8"))
    with compilers.silence():
        model = compilers.to_litert(function)
        found = litert.Interpreter(model_content=model)._get_ops_details()
    names = [operation["op_name"] for operation in found]
    assert names.count("CONV_2D") + names.count("DEPTHWISE_CONV_2D") == 3
    assert names.count("MUL") == 1  # of the rescaling of pixels
    assert names.count("ADD") == 2  # of that, and of the skip connection
    assert not {"READ_VARIABLE", "RSQRT"} & set(names)


@tensorflow_only
def test_without_its_own_package_litert_runs_on_tensorflow(
    small: Trunk, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    images = _images(3, 28, 28)
    engine = selection.prepare("litert", small, images)
    _assert_close(engine.run(images), _expected(small, images))
    assert engine.version == importlib.metadata.version("tensorflow")
    assert not [warning for warning in recwarn if "deprecated" in str(warning.message)]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """Change what the compiled function of one engine gives."""
    compile_trunk = compilers.compile_trunk

    def change(name: str, to: Callable[[list[np.ndarray]], Any]) -> None:
        def changed(engine: str, *args: Any) -> Any:
            run = compile_trunk(engine, *args)
            return (lambda images: to(run(images))) if engine == name else run

        monkeypatch.setattr(selection, "compile_trunk", changed)

    return change


@tensorflow_only
def test_an_engine_that_is_one_percent_off_is_refused(small: Trunk, compiler: Any) -> None:
    compiler("litert", lambda outputs: [outputs[0], outputs[1] * 1.01, outputs[2]])
    with pytest.raises(EngineError) as caught:
        selection.prepare("litert", small, _images(4, 28, 28))
    assert str(caught.value) == (
        "engine='litert' must differ from Keras by at most 0.001 of an output's largest number, "
        'got 0.01. Use engine="keras".'
    )
    assert selection.prepare("litert", small, _images(4, 28, 28), tolerance=0.02).error > 0.009


@tensorflow_only
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            lambda outputs: [np.full_like(output, np.nan) for output in outputs],
            "at most 0.001 .* got nan",
        ),
        (lambda outputs: outputs[::-1], r"run this model: its output has shape \(4, 4, 4, 8\)"),
        (lambda outputs: outputs[:2], "run this model: zip"),
        (lambda outputs: 1 / 0, r'run this model: division by zero. Use engine="keras"'),
    ],
)
def test_any_wrong_engine_is_refused(
    wrong: Callable[..., Any], words: str, small: Trunk, compiler: Any
) -> None:
    compiler("litert", wrong)
    with pytest.raises(EngineError, match=words):
        selection.prepare("litert", small, _images(4, 28, 28))


def _replace_litert(monkeypatch: pytest.MonkeyPatch, compile_function: Callable[..., Any]) -> None:
    changed = replace(compilers.COMPILERS["litert"], compile=compile_function)
    monkeypatch.setitem(compilers.COMPILERS, "litert", changed)


@tensorflow_only
def test_the_cause_of_a_failed_conversion_is_kept(
    small: Trunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise NotImplementedError("no such operation: Foo\nat line 7")

    _replace_litert(monkeypatch, fail)
    with pytest.raises(EngineError) as caught:
        selection.prepare("litert", small, _images(4, 28, 28))
    assert str(caught.value) == (
        "engine='litert' can't run this model: no such operation: Foo. Use engine=\"keras\"."
    )
    assert isinstance(caught.value.__cause__, NotImplementedError)


@tensorflow_only
@pytest.mark.parametrize("name", COMPILED)
def test_half_precision_comes_back_as_float32_or_is_refused(name: str) -> None:
    inner = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    half = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, dtype="mixed_float16")]
    )
    half.set_weights(inner.get_weights())
    images = _images(4, 28, 28)
    (expected,) = selection.prepare("keras", Trunk(half), images).run(images)
    assert expected.dtype == np.float32
    try:
        engine = selection.prepare(name, Trunk(half), images)
    except EngineError as error:
        assert "Use engine=" in str(error)
        return
    np.testing.assert_allclose(engine.run(images)[0], expected, atol=2e-3)


def test_bad_arguments(small: Trunk) -> None:
    images = _images(4, 28, 28)
    with pytest.raises(ConfigError, match="`engine` must be .*'onxruntime'. Did you mean 'onnxru"):
        selection.prepare("onxruntime", small, images)
    with pytest.raises(ConfigError, match="`engine` must be one of .*, got 'auto'"):
        selection.get_version("auto")
    with pytest.raises(ConfigError, match="`tolerance` must be a number above 0"):
        selection.prepare("keras", small, images, tolerance=0)
    with pytest.raises(DataError, match="`sample` must hold at least one image"):
        selection.prepare("keras", small, images[:0])


@pytest.mark.parametrize(
    "images", [_images(2, 28, 29), _images(2, 28, 28, dtype="float32"), _images(0, 28, 28)]
)
def test_other_images_than_prepared_for_are_refused(images: np.ndarray, small: Trunk) -> None:
    engine = selection.prepare("keras", small, _images(4, 28, 28))
    with pytest.raises(DataError, match=r"shape \(28, 28\) and dtype uint8.*got shape \("):
        engine.run(images)


@tensorflow_only
@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("onnxruntime", "onnxruntime", "onnx"),
        ("onnxruntime", "tf2onnx", "onnx"),
        ("openvino", "openvino", "openvino"),
    ],
)
def test_a_missing_engine_is_the_command_to_type(
    name: str, module: str, extra: str, small: Trunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "onnxruntime":  # which needs two packages
        pytest.importorskip("tf2onnx" if module == name else name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        selection.prepare(name, small, _images(4, 28, 28))
    assert str(caught.value) == f"'{module}' is not installed. Run: pip install 'tlkit[{extra}]'"


def test_another_backend_of_keras_is_refused(small: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(4, 28, 28)
    expected = _expected(small, images)
    monkeypatch.setattr(keras.config, "backend", lambda: "numpy")
    assert selection.list_installed() == ["keras"]
    with pytest.raises(EngineError) as caught:
        selection.prepare("litert", small, images)
    assert str(caught.value) == (
        "engine='litert' needs Keras' TensorFlow backend, got 'numpy'. Use engine=\"keras\"."
    )
    _assert_close(selection.prepare("keras", small, images).run(images), expected)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' own numbers under every engine's name; "onnxruntime" fails."""

    def compile_trunk(name: str, trunk: Trunk, *_: Any) -> Any:
        if name == "onnxruntime":
            raise ValueError("out of order.")
        return lambda images: _expected(trunk, images)

    monkeypatch.setattr(selection, "compile_trunk", compile_trunk)
    monkeypatch.setattr(selection, "list_installed", lambda: list(selection.ENGINES))
    monkeypatch.setattr(compilers, "get_version", lambda _: "1.0")


@tensorflow_only
@pytest.mark.parametrize(
    ("speeds", "chosen", "tried"),
    [
        ({"keras": 1.0, "litert": 2.0, "openvino": 3.0}, "litert", ["litert"]),  # the first
        ({"keras": 2.0, "litert": 1.0, "openvino": 3.0}, "openvino", ["litert", "openvino"]),
        ({"keras": 9.0, "litert": 1.0, "openvino": 3.0}, "keras", ["litert", "openvino"]),
    ],
)
def test_auto_takes_the_first_that_is_faster_than_keras_and_skips_one_that_fails(
    speeds: dict[str, float],
    chosen: str,
    tried: list[str],
    small: Trunk,
    stand_ins: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selection, "_time_images", lambda engine, _: speeds[engine.name])
    engine = selection.prepare("auto", small, _images(4, 28, 28))
    assert engine.name == chosen
    assert engine.timings == {name: speeds[name] for name in ("keras", *tried)}


@tensorflow_only
def test_auto_measures(small: Trunk, stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_SECONDS_TIMED", 0.01)
    in_batches = selection._run_in_batches

    def slow(run: Any, batch_size: int, sample: np.ndarray) -> Any:
        slowed = in_batches(run, batch_size, sample)
        delay = 0.5 * next(calls)  # far more than a busy machine adds
        return lambda images: (time.sleep(delay), slowed(images))[1]

    calls = iter([1, 2, 0])  # Keras, LiteRT, OpenVINO
    monkeypatch.setattr(selection, "_run_in_batches", slow)
    engine = selection.prepare("auto", small, _images(4, 28, 28))
    assert engine.name == "openvino"
    assert engine.timings["openvino"] == max(engine.timings.values())


@tensorflow_only
def test_for_few_images_auto_is_keras(small: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(num_images: int | None) -> selection.Engine:
        return selection.prepare("auto", small, _images(4, 28, 28), num_images=num_images)

    traced = keras_engine.trace(small, _images(1, 28, 28))
    # a convolution 3x3 of 3 to 8 maps, one by depth, and one 1x1, on 8 x 8 positions
    assert traced.num_kernels == 3
    assert traced.multiply_adds == 64 * (9 * 3 * 8 + 9 * 8 + 8 * 8)
    monkeypatch.setattr(selection, "_WORK_PER_KERNEL", 1000 * traced.multiply_adds / 3)
    monkeypatch.setattr(selection, "_time_images", lambda engine, _: float(engine.name != "keras"))
    assert prepare(999).name == "keras"
    assert prepare(999).timings == {}
    assert prepare(1000).name == prepare(None).name == "litert"


@tensorflow_only
@pytest.mark.parametrize("num_images", [5, None])
def test_without_convolutions_or_a_graph_auto_is_keras(
    num_images: int | None, small: Trunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "_time_images", lambda engine, _: float(engine.name != "keras"))
    pooling = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.MaxPooling2D()])
    images = _images(4, 8, 8, 3, dtype="float32")
    assert selection.prepare("auto", pooling, images, num_images=num_images).name == "keras"
    monkeypatch.setattr(keras_engine, "_runs_functions_eagerly", lambda: True)
    found = selection.prepare("auto", small, _images(4, 28, 28), num_images=num_images)
    assert found.name == "keras"


@pytest.mark.parametrize(
    ("has_avx512", "side", "first"),
    [(True, 160, "litert"), (False, 160, "openvino"), (False, 32, "litert")],
)
def test_compilers_are_tried_in_the_order_that_was_measured(
    has_avx512: bool, side: int, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "list_installed", lambda: list(selection.ENGINES))
    monkeypatch.setattr("tlkit._internal.system.has_avx512", lambda: has_avx512)
    order = selection.order_by_speed((side, side))
    assert order[0] == first
    assert sorted(order) == ["litert", "onnxruntime", "openvino"]


def test_a_choice_says_what_it_gained() -> None:
    engine = selection.Engine(
        name="litert",
        version="2.3.0",
        run=lambda images: [images],
        batch_size=16,
        error=3e-6,
        timings={"keras": 100.0, "litert": 330.0},
    )
    assert (
        engine.describe() == "litert 2.3.0, 3.3 times as fast as Keras, numbers within 3e-06 of it"
    )
    assert replace(engine, timings={}).describe() == "litert 2.3.0"


def test_installed_needs_every_module_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"tensorflow", "onnxruntime", "openvino"}
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    monkeypatch.setattr("tlkit._internal.optional.installed", there.__contains__)
    assert selection.list_installed() == ["keras", "litert", "openvino"]


@tensorflow_only
def test_auto_without_other_engines_is_keras(small: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "list_installed", lambda: ["keras"])
    monkeypatch.setattr(selection, "_SECONDS_TIMED", 0.01)
    assert selection.prepare("auto", small, _images(4, 28, 28)).name == "keras"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home, a working and a temporary folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    tempfile.tempdir = None


@tensorflow_only
@pytest.mark.parametrize("name", COMPILED)
def test_nothing_is_left_on_disk_or_said(
    name: str, small: Trunk, folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.write(1, b"before")
    level = logging.root.manager.disable
    selection.prepare(name, small, _images(4, 28, 28))
    os.write(1, b" after")
    assert capfd.readouterr() == ("before after", "")
    assert logging.root.manager.disable == level
    left = [path.name for path in folders.iterdir()]
    # TensorFlow deletes its own when the process ends; ONNX Runtime makes two when it is imported
    theirs = ("__autograph_generated_file", ".cache", ".ses")
    assert not [name for name in left if not name.startswith(theirs)]


@tensorflow_only
def test_a_noisy_compiler_is_not_heard(
    small: Trunk,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def noisy(_: Any) -> Any:
        os.write(1, b"from C++")
        os.write(2, b"from C++")
        sys.stdout.write("from Python")
        logging.getLogger("tf2onnx").error("logged")
        raise RuntimeError("too noisy")

    _replace_litert(monkeypatch, noisy)
    with pytest.raises(EngineError, match="too noisy"):
        selection.prepare("litert", small, _images(4, 28, 28))
    logging.getLogger("tlkit").error("heard again")
    os.write(1, b"heard again")
    assert capfd.readouterr() == ("heard again", "")
    assert caplog.messages == ["heard again"]


@pytest.mark.slow
@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_openvino_is_imported_without_its_telemetry(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import sys
from tlkit._internal import runtimes
print(runtimes.import_openvino().__name__, "openvino_telemetry" in sys.modules)
"""
    assert run_python(code, HOME=str(tmp_path)).split() == ["openvino", "False"]
    assert not (tmp_path / "intel").exists()


@pytest.mark.skipif(not installed("onnxruntime"), reason="onnxruntime is not installed")
def test_onnxruntime_writes_nothing_to_the_home_folder(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = "from tlkit._internal import runtimes; print(runtimes.import_onnxruntime().__name__)"
    assert run_python(code, HOME=str(tmp_path), XDG_CACHE_HOME="").split() == ["onnxruntime"]
    assert list(tmp_path.rglob("*")) == []
