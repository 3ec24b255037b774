import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import small_classifier

import tlkit
from tlkit.data.decoding import decode
from tlkit.data.unlabelled import read_blocks
from tlkit.errors import DataError
from tlkit.plotting import grad_cam, grad_cam_grid, prediction_grid

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (5, 16, 16, 1), "uint8")
COLOUR = RANDOM.integers(0, 256, (5, 16, 16, 3), "uint8")


def classifier(backbone: keras.Model, *shape: int | None, **settings: Any) -> keras.Model:
    return small_classifier(backbone, input_shape=shape, **settings)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        pytest.param((16, 16, 1), GREY[0], marks=pytest.mark.slow),
        ((None, None, 1), GREY[0]),
        ((16, 16, 1), GREY[0, ..., 0]),
        pytest.param((None, None, 1), GREY[0, ..., 0], marks=pytest.mark.slow),
        ((16, 16), GREY[0]),
        pytest.param((None, None), GREY[0, ..., 0], marks=pytest.mark.slow),
        ((16, 16, 3), COLOUR[0]),
        pytest.param((None, None, 3), COLOUR[0], marks=pytest.mark.slow),
        ((None, None, 3), COLOUR[0].tolist()),
        ((16, 16, 3), keras.ops.convert_to_tensor(COLOUR[0])),
        ((None, None, 4), RANDOM.integers(0, 256, (16, 16, 4), "uint8")),
    ],
)
def test_one_image_gives_one_row_wherever_it_is_passed(
    small_backbone: keras.Model, shape: tuple[int | None, ...], image: Any
) -> None:
    model = classifier(small_backbone, *shape)
    pixels = np.asarray(image, "uint8")
    batch = pixels.reshape(1, 16, 16, *shape[2:])
    expected = model.predict(batch, verbose=0)
    for images in (image, [image], pixels[None]):
        got = tlkit.predict(model, images)
        assert got.shape == (1, 3)
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert grad_cam(model, image).shape == (1, 16, 16)
    flipped = tlkit.predict(model, image, augmentation=[keras.layers.RandomFlip()], views=2)
    assert flipped.shape == (1, 3)


@pytest.mark.parametrize(
    ("shape", "images", "words"),
    [
        ((None, None, 1), COLOUR[0], r"can be one image with 3 channels or a batch of grey"),
        ((None, None), RANDOM.random((16, 16, 4)), r"with 4 channels or a batch of grey"),
        ((16, 16, 1), COLOUR[0], r"must have shape \(16, 16, 1\) for one image, or \(count, 16"),
        ((16, 16, 3), GREY[0], r"must have shape \(16, 16, 3\) .* got \(16, 16, 1\)"),
        ((None, None, 3), GREY[0, ..., 0], r"must have shape \(any, any, 3\)"),
        ((16, 16, 3), COLOUR.transpose(0, 3, 1, 2), r"channels-first: numpy.moveaxis\(images, -3"),
        ((None, None, 3), COLOUR[0].transpose(2, 0, 1), r"channels-first: numpy.moveaxis"),
        ((16, 16, 3), [COLOUR[0].transpose(2, 0, 1)], r"`images\[0\]` must .*channels-first"),
        ((16, 16, 3), COLOUR[:, :9], r"Files and Pillow images of any size are resized; arrays"),
        ((16, 16, 3), [COLOUR[0], COLOUR], r"`images\[1\]` must have shape \(16, 16, 3\), got"),
        ((16, 16, 3), [], "at least one image, got none"),
        ((16, 16, 3), np.zeros((0, 16, 16, 3)), "at least one image, got none"),
        ((16, 16, 3), {"a": 1}, "must be an array, a path, .*got dict"),
        ((16, 16, 3), None, "must be an array, a path, .*got NoneType"),
        ((16, 16, 3), [COLOUR[0], None], r"got NoneType \(images\[1\]\)"),
        ((16, 16, 3), "no/such.png", "no/such.png can't be read as an image: there is no such"),
        ((16, 16, 3), [b"hello"], r"images\[0\] can't be read as an image: its image format"),
        ((16, 16, 4), Image.new("RGB", (16, 16)), "must be arrays for a model of 4 channels"),
    ],
)
def test_what_can_be_two_things_or_fits_nothing_is_refused(
    small_backbone: keras.Model, shape: tuple[int | None, ...], images: Any, words: str
) -> None:
    model = classifier(small_backbone, *shape)
    for use in (tlkit.predict, grad_cam):
        with pytest.raises(DataError, match=words):
            use(model, images)


def test_a_batch_of_grey_images_stays_one(small_backbone: keras.Model) -> None:
    for shape in ((16, 16, 1), (None, None, 1), (16, 16), (None, None)):
        model = classifier(small_backbone, *shape)
        expected = tlkit.predict(model, GREY)
        assert expected.shape == (5, 3)
        np.testing.assert_array_equal(tlkit.predict(model, GREY[..., 0]), expected)
        np.testing.assert_array_equal(tlkit.predict(model, list(GREY[..., 0])), expected)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A palette, 16 bits, transparency, a photo turned by EXIF, CMYK; none is square."""
    pixels = Image.fromarray(RANDOM.integers(0, 256, (20, 30, 3), "uint8"))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(RANDOM.integers(0, 65536, (20, 30)).astype("uint16"))
    (tmp_path / "deeper").mkdir()
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("a.png", pixels.convert("P"), {}),
        ("b.png", deep, {}),
        ("c.png", pixels.convert("RGBA"), {}),
        ("d.jpg", pixels, {"exif": exif}),
        ("deeper/e.jpg", pixels.convert("CMYK"), {}),
    ]
    for name, picture, how in kinds:
        picture.save(tmp_path / name, **how)
    return [tmp_path / name for name, _, _ in kinds]


@pytest.mark.parametrize("channels", [1, 3])
def test_files_in_every_form_are_decoded_as_a_folder_is(files: list[Path], channels: int) -> None:
    expected = np.stack([decode(file, (16, 16), channels=channels) for file in files])
    for images in (
        files,
        tuple(map(str, files)),
        np.array([str(file) for file in files]),
        iter(files),
        [file.read_bytes() for file in files],
        [Image.open(file) for file in files],
        [io.BytesIO(file.read_bytes()) for file in files],
        [files[0], expected[1], Image.open(files[2]), files[3].read_bytes(), str(files[4])],
        [files[0].parent],
        files[0].parent,
    ):
        blocks = list(read_blocks(images, input_shape=(None, 16, 16, channels), value_range=None))
        ((indices, block),) = blocks
        np.testing.assert_array_equal(block[np.argsort(indices)], expected)


def test_predictions_of_files_are_those_of_their_pixels(
    small_backbone: keras.Model, files: list[Path]
) -> None:
    model = classifier(small_backbone, 16, 16, 3)
    decoded = np.stack([decode(file, (16, 16)) for file in files])
    expected = tlkit.predict(model, decoded)
    np.testing.assert_allclose(tlkit.predict(model, files, batch_size=2), expected, atol=1e-6)
    for one in (files[3], Image.open(files[3]), files[3].read_bytes()):
        np.testing.assert_allclose(tlkit.predict(model, one), expected[3:4], atol=1e-6)
    cropped = np.stack([decode(file, (16, 16), fit="crop") for file in files])
    np.testing.assert_allclose(
        tlkit.predict(model, files, fit="crop"), tlkit.predict(model, cropped), atol=1e-6
    )
    np.testing.assert_allclose(grad_cam(model, files[3]), grad_cam(model, decoded[3]), atol=1e-6)


def test_a_model_of_any_size_resizes_each_file_itself(
    small_backbone: keras.Model, files: list[Path]
) -> None:
    model = classifier(small_backbone, None, None, 3)
    own = [decode(file, None) for file in files]
    assert [image.shape for image in own] == [(20, 30, 3)] * 3 + [(30, 20, 3), (20, 30, 3)]
    expected = [model.predict(image[None], verbose=0)[0] for image in own]
    np.testing.assert_allclose(tlkit.predict(model, files), expected, atol=1e-6)
    np.testing.assert_allclose(tlkit.predict(model, own, batch_size=4), expected, atol=1e-6)
    with pytest.raises(DataError, match=r"all have one size, got \[\(20, 30, 3\), \(30, 20, 3\)\]"):
        grad_cam(model, files)


def test_files_get_the_black_and_white_of_the_model(
    small_backbone: keras.Model, files: list[Path]
) -> None:
    byte, unit, shifted = (
        classifier(small_backbone, 16, 16, 3, value_range=bounds)
        for bounds in ((0, 255), (0, 1), (-1, 3))
    )
    expected = tlkit.predict(byte, files)
    for model in (unit, shifted):
        model.set_weights(byte.get_weights())
        np.testing.assert_allclose(tlkit.predict(model, files), expected, atol=1e-5)


def test_an_image_dataset_and_its_images_are_predicted(
    small_backbone: keras.Model, files: list[Path]
) -> None:
    model = classifier(small_backbone, 16, 16, 3)
    dataset = tlkit.sources.from_arrays(COLOUR, [0, 1, 2, 3, 3], class_names="wxyz")
    expected = tlkit.predict(model, COLOUR)
    np.testing.assert_array_equal(tlkit.predict(model, dataset), expected)
    digits = tlkit.sources.from_arrays(
        COLOUR, [0, 1, 2, 0, 0], class_names="abc", value_range=(0, 16)
    )
    with pytest.raises(DataError, match=r"range \(0.0, 255.0\), got .* value_range=\(0.0, 16.0\)"):
        tlkit.predict(model, digits)


def test_the_callers_own_image_is_left_as_it_is(
    small_backbone: keras.Model, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "big.jpg")
    picture = Image.open(tmp_path / "big.jpg")
    tlkit.predict(classifier(small_backbone, 16, 16, 3), picture)
    assert picture.size == (400, 300)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_image_is_not_taken_for_a_batch_where_there_are_labels(
    small_backbone: keras.Model, channels: int
) -> None:
    model = classifier(small_backbone, None, None, 1)
    data = RANDOM.integers(0, 256, (16, 16, channels), "uint8"), np.arange(16) % 3
    for use in (
        lambda: tlkit.evaluate(model, data),
        lambda: tlkit.train_phase(model, tlkit.Phase(epochs=1), data, verbose=False),
        lambda: prediction_grid(model, data),
        lambda: grad_cam_grid(model, data),
    ):
        with pytest.raises(DataError, match=f"can be one image with {channels} channels or a bat"):
            use()


def test_channels_first_images_with_labels_are_refused_with_the_remedy(
    small_backbone: keras.Model,
) -> None:
    model = classifier(small_backbone, 16, 16, 3)
    data = COLOUR.transpose(0, 3, 1, 2), np.arange(5) % 3
    for use in (tlkit.evaluate, prediction_grid):
        with pytest.raises(DataError, match=r"channels-first: numpy.moveaxis\(images, -3, -1\)"):
            use(model, data)
