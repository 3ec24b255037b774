from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tlkit import GrayToRGBResize
from tlkit.errors import ConfigError, DataError
from tlkit.models import ClassProbabilities

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
SEEDS = st.integers(0, 2**16)
INTERPOLATIONS = st.sampled_from(["bilinear", "nearest"])
RANGES = st.sampled_from([(0, 255), (0, 1), (-1, 1), (0, 65535), (-3.5, 2)])
CHANNELS = st.sampled_from([None, 1, 3, 4])


def random_images(
    seed: int,
    shape: tuple[int, ...],
    *,
    dtype: str = "uint8",
    value_range: tuple[float, float] = (0, 255),
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if dtype == "uint8":
        return generator.integers(0, 256, shape, dtype="uint8")
    low, high = value_range
    return np.asarray(low + (high - low) * generator.random(shape), dtype)


def grey_shape(size: tuple[int, int], channels: int | None) -> tuple[int, ...]:
    """Two images of this size; a rank-3 batch gets a width that can't be taken for channels."""
    height, width = size
    if channels is None:
        return (2, height, width + 4 if width in (1, 3, 4) else width)
    return (2, height, width, channels)


def result_of(layer: keras.Layer, images: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(layer(images)))


def resized_by_hand(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resizing as two float64 matrix products, (batch, height, width, channels)."""
    rows, columns = (
        hat_weights(have, want) for have, want in zip(images.shape[1:3], size, strict=True)
    )
    return np.asarray(np.einsum("yh,xw,bhwc->byxc", rows, columns, images.astype("float64")))


def hat_weights(have: int, want: int) -> np.ndarray:
    """How much each of `have` pixels counts in each of `want`, pixels being half a step in."""
    centres = ((np.arange(want) + 0.5) * have / want - 0.5).clip(0, have - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(have)[None, :])))


@given(SEEDS, SIZES, SIZES, CHANNELS, INTERPOLATIONS, RANGES, RANGES)
def test_every_valid_float_batch_has_the_right_shape_and_range(
    seed: int,
    have: tuple[int, int],
    want: tuple[int, int],
    channels: int | None,
    interpolation: str,
    input_range: tuple[float, float],
    output_range: tuple[float, float],
) -> None:
    layer = GrayToRGBResize(
        want, input_range=input_range, output_range=output_range, interpolation=interpolation
    )
    images = random_images(
        seed, grey_shape(have, channels), dtype="float32", value_range=input_range
    )
    result = result_of(layer, images)
    assert result.shape == (2, *want, 3) == tuple(layer.compute_output_shape(images.shape))
    assert result.dtype == "float32"
    low, high = output_range
    slack = 1e-5 * (high - low)  # a few float32 roundings of the mapping
    assert low - slack <= result.min() and result.max() <= high + slack


@given(SEEDS, SIZES, SIZES, CHANNELS, INTERPOLATIONS)
def test_uint8_and_float_pixels_give_the_same_result(
    seed: int, have: tuple[int, int], want: tuple[int, int], channels: int | None, how: str
) -> None:
    layer = GrayToRGBResize(want, interpolation=how)
    images = random_images(seed, grey_shape(have, channels))
    result = result_of(layer, images)
    assert result.min() >= 0 and result.max() <= 1 + 1e-6  # one float32 rounding above white
    np.testing.assert_array_equal(result, result_of(layer, images.astype("float32")))
    np.testing.assert_array_equal(result, result_of(layer, images.astype("int64")))


@given(SEEDS, SIZES, SIZES, INTERPOLATIONS, RANGES)
def test_grey_becomes_three_equal_channels_with_or_without_a_channel_axis(
    seed: int, have: tuple[int, int], want: tuple[int, int], how: str, output: tuple[float, float]
) -> None:
    layer = GrayToRGBResize(want, interpolation=how, output_range=output)
    images = random_images(seed, grey_shape(have, None))
    result = result_of(layer, images)
    np.testing.assert_array_equal(result[..., 0], result[..., 1])
    np.testing.assert_array_equal(result[..., 0], result[..., 2])
    np.testing.assert_array_equal(result, result_of(layer, images[..., None]))


@given(st.integers(0, 255), SIZES, SIZES, st.sampled_from([1, 3]), INTERPOLATIONS, RANGES)
def test_constant_images_stay_constant(
    value: int,
    have: tuple[int, int],
    want: tuple[int, int],
    channels: int,
    how: str,
    output_range: tuple[float, float],
) -> None:
    layer = GrayToRGBResize(want, interpolation=how, output_range=output_range)
    low, high = output_range
    expected = low + (high - low) * value / 255
    result = result_of(layer, np.full((1, *have, channels), value, "uint8"))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6 * (high - low))


@given(SEEDS, SIZES, SIZES, INTERPOLATIONS)
def test_resizing_then_copying_equals_copying_then_resizing(
    seed: int, have: tuple[int, int], want: tuple[int, int], how: str
) -> None:
    images = random_images(seed, (2, *have, 1))
    copied = np.repeat(images, 3, axis=-1).astype("float32")
    reference = keras.ops.image.resize(copied, want, interpolation=how) / 255
    result = result_of(GrayToRGBResize(want, interpolation=how), images)
    np.testing.assert_allclose(result, reference, rtol=1e-6, atol=1e-6)


@given(SEEDS, SIZES, SIZES, st.sampled_from([1, 3]), RANGES)
def test_bilinear_equals_a_matrix_product_by_hand(
    seed: int,
    have: tuple[int, int],
    want: tuple[int, int],
    channels: int,
    output_range: tuple[float, float],
) -> None:
    images = random_images(seed, (2, *have, channels))
    low, high = output_range
    reference = low + (high - low) * resized_by_hand(images, want) / 255
    result = result_of(GrayToRGBResize(want, output_range=output_range), images)
    reference = np.broadcast_to(reference, result.shape)
    # the kernel's weights are float32: a few roundings of the largest pixel
    np.testing.assert_allclose(result, reference, rtol=0, atol=2e-6 * (high - low))


@given(SEEDS, SIZES, st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3]))
def test_nearest_is_exact_at_whole_factors(
    seed: int, have: tuple[int, int], down: int, across: int, channels: int
) -> None:
    images = random_images(seed, (2, *have, channels))
    layer = GrayToRGBResize(
        (have[0] * down, have[1] * across), interpolation="nearest", output_range=(0, 255)
    )
    reference = images.repeat(down, axis=1).repeat(across, axis=2)
    result = result_of(layer, images)
    np.testing.assert_array_equal(result, np.broadcast_to(reference, result.shape))


@given(SEEDS, SIZES, SIZES, st.sampled_from([1, 3, 4]), INTERPOLATIONS)
def test_a_batch_equals_its_images_one_by_one(
    seed: int, have: tuple[int, int], want: tuple[int, int], channels: int, how: str
) -> None:
    layer = GrayToRGBResize(want, interpolation=how)
    images = random_images(seed, (3, *have, channels))
    one_by_one = [result_of(layer, image[None])[0] for image in images]
    np.testing.assert_array_equal(result_of(layer, images), np.stack(one_by_one))


@given(SEEDS, SIZES, st.sampled_from([1, 3]), INTERPOLATIONS)
def test_the_same_size_and_range_change_no_pixel(
    seed: int, size: tuple[int, int], channels: int, how: str
) -> None:
    images = random_images(seed, (2, *size, channels))
    result = result_of(GrayToRGBResize(size, output_range=(0, 255), interpolation=how), images)
    np.testing.assert_array_equal(result, np.broadcast_to(images, result.shape))


@pytest.mark.parametrize("value_range", [(0, 255), (-1, 1), (10, 20)])
@pytest.mark.parametrize(("alpha", "background"), [("white", 1.0), ("black", 0.0), ("drop", None)])
def test_alpha_composites_over_its_background(
    alpha: str, background: float | None, value_range: tuple[float, float]
) -> None:
    unit = np.random.default_rng(3).random((2, 5, 6, 4))
    unit[0, 0, 0, 3], unit[0, 0, 1, 3] = 0, 1
    colours, opacity = unit[..., :3], unit[..., 3:]
    expected = colours
    if background is not None:
        expected = colours * opacity + background * (1 - opacity)
    low, high = value_range
    layer = GrayToRGBResize((5, 6), input_range=value_range, alpha=alpha)
    result = result_of(layer, (low + (high - low) * unit).astype("float32"))
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6)  # float32 of values up to 20


@pytest.mark.parametrize("size", [(4, 5), (11, 7)])
def test_alpha_is_composited_before_resizing(size: tuple[int, int]) -> None:
    images = random_images(5, (2, 6, 7, 4))
    colours, opacity = images[..., :3] / 255, images[..., 3:] / 255
    expected = resized_by_hand(colours * opacity + (1 - opacity), size)
    np.testing.assert_allclose(
        result_of(GrayToRGBResize(size), images), expected, rtol=0, atol=2e-6
    )


@pytest.mark.parametrize(
    ("policy", "half_step"),
    [("mixed_float16", 2**-11), ("float16", 2**-11), ("mixed_bfloat16", 2**-8)],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("output_range", [(0, 1), (-1, 1), (0, 255)])
def test_low_precision_rounds_only_once(
    policy: str, half_step: float, dtype: str, output_range: tuple[float, float]
) -> None:
    images = random_images(1, (4, 9, 10, 3), dtype=dtype)
    exact = result_of(GrayToRGBResize((13, 8), output_range=output_range), images)
    rounded = GrayToRGBResize((13, 8), output_range=output_range, dtype=policy)(images)
    assert keras.backend.standardize_dtype(rounded.dtype) == policy.removeprefix("mixed_")
    error = np.abs(keras.ops.convert_to_numpy(keras.ops.cast(rounded, "float32")) - exact)
    assert (error <= half_step * np.abs(exact)).all()
    assert error.max() > 0


def test_a_model_under_a_float16_policy_does_not_round_its_raw_pixels() -> None:
    images = random_images(2, (2, 6, 6, 1), dtype="float32", value_range=(0, 65535))
    results = {}
    for policy in ("float32", "mixed_float16"):
        inputs = keras.Input((6, 6, 1))
        layer = GrayToRGBResize(
            (6, 6), input_range=(0, 65535), output_range=(-1, 1), dtype=policy, name="front"
        )
        model = keras.Model(inputs, layer(inputs))
        results[policy] = model.predict(images, verbose=0).astype("float32")
    exact = results["float32"]
    assert (np.abs(results["mixed_float16"] - exact) <= 2**-11 * np.abs(exact)).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_unknown_height_and_width_resize_at_run_time(channels: int) -> None:
    inputs = keras.Input((None, None, channels))
    layer = GrayToRGBResize((7, 5))
    outputs = layer(inputs)
    assert outputs.shape == (None, 7, 5, 3) == layer.compute_output_shape(inputs.shape)
    model = keras.Model(inputs, outputs)
    for have in ((7, 5), (3, 11)):
        images = random_images(4, (2, *have, channels))
        np.testing.assert_allclose(
            model.predict(images, verbose=0), result_of(layer, images), rtol=0, atol=1e-6
        )


def test_unknown_size_without_a_channel_axis_is_grey() -> None:
    inputs = keras.Input((None, None))
    layer = GrayToRGBResize((7, 5))
    model = keras.Model(inputs, layer(inputs))
    images = random_images(4, (2, 9, 8))
    assert model.output_shape == (None, 7, 5, 3)
    np.testing.assert_array_equal(model.predict(images, verbose=0), result_of(layer, images))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_works_inside_a_tf_data_pipeline(channels: int) -> None:
    layer = GrayToRGBResize((6, 5))
    images = random_images(6, (4, 9, 8, channels))
    expected = result_of(layer, images)
    source = tf.data.Dataset.from_tensor_slices(images)
    batched = source.batch(2).map(layer)
    singly = source.map(lambda image: layer(image[None])[0])
    assert batched.element_spec.shape.as_list() == [None, 6, 5, 3]
    assert singly.element_spec.shape.as_list() == [6, 5, 3]
    np.testing.assert_array_equal(np.concatenate(list(batched.as_numpy_iterator())), expected)
    np.testing.assert_array_equal(np.stack(list(singly.as_numpy_iterator())), expected)


def saved_model(path: Path) -> keras.Model:
    """Every layer of tlkit in one model, written to `path`."""
    inputs = keras.Input((None, None, 1))
    front = GrayToRGBResize((6, 5), output_range=(-1, 1), interpolation="bilinear")
    features = keras.layers.GlobalAveragePooling2D()(front(inputs))
    model = keras.Model(inputs, ClassProbabilities(["a", "b", "c"])(features))
    model.save(path)
    return model


@pytest.mark.slow
def test_a_saved_model_gives_the_same_bits_in_a_fresh_process(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    model = saved_model(tmp_path / "model.keras")
    images = random_images(7, (3, 9, 8, 1))
    np.save(tmp_path / "images.npy", images)
    run_python(
        "import os, keras, numpy as np, tlkit\n"
        "os.chdir(os.environ['FOLDER'])\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('results.npy', model.predict(np.load('images.npy'), verbose=0))\n",
        FOLDER=str(tmp_path),
    )
    expected = model.predict(images, verbose=0)
    np.testing.assert_array_equal(np.load(tmp_path / "results.npy"), expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_an_exported_model_gives_the_same_result(tmp_path: Path, interpolation: str) -> None:
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, GrayToRGBResize((6, 5), interpolation=interpolation)(inputs))
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    images = random_images(8, (3, 9, 8, 1)).astype("float32")
    np.testing.assert_allclose(
        exported.serve(images), model.predict(images, verbose=0), rtol=0, atol=1e-6
    )


def test_the_numpy_backend_gives_the_same_result_without_tensorflow(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    pytest.importorskip("jax", reason="Keras' NumPy backend needs jax")
    images = random_images(9, (3, 9, 8, 4))
    np.save(tmp_path / "images.npy", images)
    run_python(
        "import os, sys, numpy as np, tlkit\n"
        "os.chdir(os.environ['FOLDER'])\n"
        "for how in ('bilinear', 'nearest'):\n"
        "    layer = tlkit.GrayToRGBResize((6, 13), interpolation=how)\n"
        "    np.save(how + '.npy', np.asarray(layer(np.load('images.npy'))))\n"
        "logits = np.array([[1.0, 2.0, 4.0]])\n"
        "np.save('softmax.npy', tlkit.models.ClassProbabilities(['a', 'b', 'c'])(logits))\n"
        "assert 'tensorflow' not in sys.modules, 'tensorflow was imported'\n",
        FOLDER=str(tmp_path),
        KERAS_BACKEND="numpy",
    )
    for how in ("bilinear", "nearest"):
        expected = result_of(GrayToRGBResize((6, 13), interpolation=how), images)
        np.testing.assert_allclose(np.load(tmp_path / f"{how}.npy"), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        np.load(tmp_path / "softmax.npy"), [softmax([1, 2, 4])], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(28, 28), (1, 2, 28, 28, 1), (28,)])
def test_a_wrong_rank_is_refused_with_the_valid_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        DataError, match=r"\(batch, height, width, channels\), got .*add the batch axis"
    ):
        GrayToRGBResize(8)(np.zeros(shape, "float32"))


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channel_counts_are_refused_with_the_valid_ones(channels: int) -> None:
    with pytest.raises(DataError, match=rf"1 \(grey\), 3 .* got {channels} in shape"):
        GrayToRGBResize(8)(np.zeros((1, 8, 8, channels), "float32"))


@pytest.mark.parametrize("width", [1, 3, 4])
def test_a_batch_that_can_be_one_image_is_refused(width: int) -> None:
    with pytest.raises(DataError, match=rf"one image with {width} channels or a batch .*\[None\]"):
        GrayToRGBResize(8)(np.zeros((9, 9, width), "uint8"))


def test_a_wrong_shape_is_refused_symbolically_too() -> None:
    with pytest.raises(DataError, match="got 2 in shape"):
        GrayToRGBResize(8)(keras.Input((8, 8, 2)))
    with pytest.raises(DataError, match="got None in shape"):
        GrayToRGBResize(8)(keras.Input((8, 8, None)))
    with pytest.raises(DataError, match="got 5 in shape"):
        GrayToRGBResize(8).compute_output_shape((None, 8, 8, 5))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "`size` must have a height of whole pixels, at least 1, got 0"),
        ((4, -1), "`size` must have a width of whole pixels, at least 1, got (4, -1)"),
        (True, "`size` must have a height of whole pixels, at least 1, got True"),
        ((4, 4.0), "`size` must have a width of whole pixels, at least 1, got (4, 4.0)"),
        ("a", "`size` must be a whole number or a pair (height, width), got 'a'"),
        ((1, 2, 3), "`size` must be a whole number or a pair (height, width), got (1, 2, 3)"),
        (None, "`size` must be a whole number or a pair (height, width), got None"),
    ],
)
def test_a_bad_size_is_refused_by_name(size: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GrayToRGBResize(size)
    assert words in str(caught.value)


@pytest.mark.parametrize("argument", ["input_range", "output_range"])
@pytest.mark.parametrize(
    "value", [(1, 1), (2, 1), "ab", (0, float("inf")), (float("nan"), 1), (0, 1, 2), 5, (False, 1)]
)
def test_a_bad_range_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        GrayToRGBResize(8, **{argument: value})
    wanted = f"`{argument}` must be a pair (low, high) of numbers with low < high, got {value!r}"
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value", "offer"),
    [
        ("interpolation", "bilinaer", "Did you mean 'bilinear'?"),
        ("interpolation", "area", "of ['bicubic', 'bilinear', 'nearest'], got 'area'"),
        ("alpha", "wite", "Did you mean 'white'?"),
        ("alpha", None, "must be one of ['black', 'drop', 'white'], got None"),
    ],
)
def test_a_misspelt_choice_is_refused_with_the_nearest(
    argument: str, value: Any, offer: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        GrayToRGBResize(8, **{argument: value})
    assert f"`{argument}`" in str(caught.value)
    assert offer in str(caught.value)


def softmax(logits: Any) -> np.ndarray:
    powers = np.exp(np.asarray(logits, "float64") - np.max(logits))
    return np.asarray(powers / powers.sum())


@given(st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=12))
def test_class_probabilities_are_the_softmax(logits: list[float]) -> None:
    layer = ClassProbabilities([f"class {index}" for index in range(len(logits))])
    result = result_of(layer, np.array([logits], "float32"))
    np.testing.assert_allclose(result[0], softmax(logits), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [None, "mixed_float16", "float16"])
def test_class_probabilities_are_float32_under_every_policy(dtype: str | None) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        arguments = {} if dtype is None else {"dtype": dtype}
        layer = ClassProbabilities(["a", "b", "c"], **arguments)
        inputs = keras.Input((3,), dtype="float16")
        model = keras.Model(inputs, layer(inputs))
        logits = np.array([[0.0, 3.0, 9.5]], "float16")
        result = model.predict(logits, verbose=0)
    finally:
        keras.config.set_dtype_policy(before)
    assert result.dtype == "float32"
    np.testing.assert_allclose(result[0], softmax([0.0, 3.0, 9.5]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat", "dog", "cat"], "['cat'] more than once"),
        (["cat"], "at least 2 different names, got ['cat']"),
        ([], "at least 2 different names, got []"),
        ("cat", "must be a sequence of strings, got 'cat'"),
        ([0, 1], "must be a sequence of strings, got [0, 1]"),
    ],
)
def test_bad_class_names_are_refused(names: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClassProbabilities(names)
    assert "`class_names`" in str(caught.value)
    assert words in str(caught.value)


def test_another_number_of_logits_than_names_is_refused() -> None:
    layer = ClassProbabilities(["cat", "dog"])
    words = "one name for each of the 3 logits, got 2"
    with pytest.raises(ConfigError, match=words):
        layer(keras.Input((3,)))
    with pytest.raises(ConfigError, match=words):
        layer.compute_output_shape((None, 3))


def test_a_wrong_number_of_logits_is_refused_eagerly_too() -> None:
    with pytest.raises(ConfigError, match="one name for each of the 3 logits, got 2"):
        ClassProbabilities(["a", "b"])(np.zeros((1, 3), "float32"))
