import keras
import numpy as np
import pytest

from tlkit.errors import ConfigError
from tlkit.models import pixels
from tlkit.models.builder import build_classifier
from tlkit.models.pixels import PixelFormat


@pytest.mark.parametrize(
    "value",
    [
        *pixels.NAMED.values(),
        PixelFormat(range=(-0.5, 0.5)),
        PixelFormat(range=(0, 1), mean=(0.1, 0.2, 0.3), std=(1e-3, 2.0, 3.0), bgr=True),
    ],
    ids=str,
)
def test_words_describe_a_format_exactly(value: PixelFormat) -> None:
    assert pixels.parse(pixels.to_words(value)) == value
    assert pixels.parse(list(pixels.to_words(value))) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tourch", "Did you mean 'torch'"),
        ("1", "two numbers"),
        (("1", "0"), "low < high"),
        (("0", "nan"), "low < high"),
        (("0", "1", "2"), "two numbers"),
        (("means=1,1,1",), "Did you mean 'mean'"),
        (("mean=0.5",), "one of"),
        (("std=1,0,1",), "std above 0"),
        (3, "got 3"),
        (None, "got None"),
    ],
    ids=str,
)
def test_a_wrong_format_is_refused(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        pixels.parse(value)
    assert caught.value.argument == "pixels"


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        (None, None),
        (1 / 255, None),
        (None, -128),
        ([1 / 127.5] * 3, [-1, -1, -1]),
        ([0.017, 0.018, 0.019], [-2.1, -2.0, -1.8]),
        (1.0, [-123.68, -116.779, -103.939]),
    ],
    ids=str,
)
def test_a_classifier_rescales_as_an_image_converter(scale: object, offset: object) -> None:
    backbone = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Activation("linear")])
    model = build_classifier(backbone, 2, pixels=pixels.from_scale(scale, offset))
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3)).astype("float32")
    taken = keras.Model(model.inputs, model.get_layer(backbone.name).output)(images)
    expected = images * np.asarray(1 if scale is None else scale) + np.asarray(offset or 0)
    np.testing.assert_allclose(taken, expected, rtol=1e-5, atol=1e-4)
