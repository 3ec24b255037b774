"""The page's own decoding and resizing, in a browser, beside `data.decoding`."""

import base64
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.browser import open_browser

from tlkit.data import unlabelled
from tlkit.data.decoding import decode
from tlkit.deployment.web import page

_MODES = ("1", "L", "L with a key", "LA", "P", "P with alpha", "RGB", "RGB with a key", "RGBA")
_SIZES = ((3, 400), (200, 2), (31, 57), (128, 96), (301, 255))  # width and height
_READ = """async ([content, type, how]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const found = await readFile(new Blob([bytes], { type }), how);
  return [found.height, found.width, found.channels, Array.from(found.data)];
}"""

Read = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    """An empty page with the functions of the exported one."""
    with open_browser() as browser:
        opened = browser.new_page()
        modules = page.join_scripts().split("// A surface to draw on")[0]
        opened.add_script_tag(
            content=f"{modules}\nObject.assign(globalThis, {{ readFile, toPixels }});"
        )
        yield opened


@pytest.fixture(scope="module")
def read(tab: Any) -> Read:
    """Reads the content of a file as the page does."""

    def read(content: bytes, kind: str, size: tuple[int, int] | None, **how: Any) -> np.ndarray:
        height, width = size or (None, None)
        settings = {"fit": "squash", "channels": 3, "white": None, "maxPixels": 10**6, **how}
        settings |= {"height": height, "width": width}
        text = base64.b64encode(content).decode()
        *shape, pixels = tab.evaluate(_READ, [text, f"image/{kind}", settings])
        return np.asarray(pixels, "uint8").reshape(shape)

    return read


def _picture(mode: str, size: tuple[int, int], seed: int) -> tuple[Image.Image, dict[str, Any]]:
    """Return a picture, half of it noise and half of it smooth, and how it is saved."""
    width, height = size
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 4), "uint8")
    part = max(1, width // 2)
    small = Image.fromarray(pixels[: min(height, 5), : min(width, 5)])
    pixels[:, :part] = np.asarray(small.resize((part, height)))
    whole = Image.fromarray(pixels)
    if mode == "P":
        return whole.convert("RGB").quantize(200), {}
    if mode == "P with alpha":
        alphas = random.integers(0, 256, 20, "uint8").tobytes()
        return whole.convert("RGB").quantize(13), {"transparency": alphas}
    if mode == "L with a key":
        return whole.convert("L").point(lambda value: value // 64 * 64), {"transparency": 64}
    if mode == "RGB with a key":
        coarse = Image.fromarray(pixels[..., :3] // 128 * 128)
        return coarse, {"transparency": (128, 0, 128)}
    return (whole.convert("RGB") if mode == "1" else whole).convert(mode), {}


def _save(picture: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


@pytest.mark.parametrize("mode", _MODES)
def test_a_png_file_of_any_kind_and_size_is_read_to_the_last_bit(mode: str, read: Read) -> None:
    for number, (size, fit) in enumerate(product(_SIZES, ("squash", "crop", "pad"))):
        picture, how = _picture(mode, size, number)
        content = _save(picture, "png", **how)
        channels, target = (1, 3)[number % 2], ((28, 28), (17, 40), (224, 9))[number // 2 % 3]
        settings: dict[str, Any] = {"fit": fit, "channels": channels}
        try:
            expected = decode(content, target, **settings)
        except ValueError:  # too narrow to be padded
            with pytest.raises(Exception, match="the image is too narrow for this classifier"):
                read(content, "png", target, **settings)
            continue
        got = read(content, "png", target, **settings)
        np.testing.assert_array_equal(got, expected, err_msg=f"{mode} {size} {target} {fit}")


@pytest.mark.parametrize("brightest", [200, 4000, 60000])
def test_a_png_file_of_16_bits_is_scaled_by_its_brightest_pixel(brightest: int, read: Read) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, brightest, (40, 30)).astype("uint16")
    content = _save(Image.fromarray(pixels), "png")
    for white in (None, 65535):
        expected = decode(content, (12, 9), channels=1, white=white)
        got = read(content, "png", (12, 9), channels=1, white=white)
        np.testing.assert_array_equal(got, expected)


def test_an_interlaced_png_file_is_read_to_the_last_bit(read: Read) -> None:
    for height, width in ((9, 13), (1, 3), (40, 21)):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), "uint8")
        content = _interlace(pixels)
        np.testing.assert_array_equal(decode(content, None), pixels)  # Pillow reads it so too
        np.testing.assert_array_equal(read(content, "png", None), pixels)


def _interlace(pixels: np.ndarray) -> bytes:
    """Return RGB pixels as an interlaced PNG file, without filters."""
    height, width, _ = pixels.shape
    rows = b""
    for left, top, across, down in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)),
        *((1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        part = pixels[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_a_classifier_of_any_size_takes_a_file_in_its_own(read: Read) -> None:
    content = _save(_picture("RGBA", (31, 17), 0)[0], "png")
    np.testing.assert_array_equal(read(content, "png", None), decode(content, None))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(kind: str, orientation: int, read: Read) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.random.default_rng(0).integers(0, 256, (4, 3, 3), "uint8").repeat(16, 0)
    picture = Image.fromarray(blocks.repeat(16, 1))
    content = _save(picture, kind, exif=exif, quality=95)
    got, expected = read(content, kind, (32, 24)), decode(content, (32, 24))
    assert np.abs(got.astype(int) - expected).mean() <= (0 if kind == "png" else 1)


@pytest.mark.parametrize("kind", ["gif", "bmp"])
def test_a_file_that_the_browser_decodes_without_loss_is_the_same(kind: str, read: Read) -> None:
    content = _save(_picture("RGB", (90, 61), 0)[0], kind)
    for channels in (1, 3):
        got = read(content, kind, (28, 28), channels=channels)
        np.testing.assert_array_equal(got, decode(content, (28, 28), channels=channels))


@pytest.mark.parametrize("size", [(50, 40), (130, 121), (333, 250), (700, 513)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_a_jpeg_file_differs_by_rounding(
    size: tuple[int, int], subsampling: str, read: Read
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), "uint8")
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    content = _save(picture, "jpeg", quality=90, subsampling=subsampling)
    got, expected = read(content, "jpeg", (32, 32)), decode(content, (32, 32))
    difference = np.abs(got.astype(int) - expected)
    assert difference.mean() < 0.4
    assert difference.max() <= 3


@pytest.mark.parametrize("bounds", [(-1, 1), (0, 1), (0, 16), (0, 255), (255, 0)])
def test_black_and_white_become_those_of_the_classifier(
    bounds: tuple[float, float], tab: Any
) -> None:
    pixels = np.arange(256, dtype="uint8").reshape(16, 16)
    shape = (None, 16, 16, 1)
    expected = unlabelled.read_file(Image.fromarray(pixels), input_shape=shape, value_range=bounds)
    about = {"value_range": bounds, "input_dtype": "float32"}
    call = "([data, about]) => Array.from(toPixels({ data }, about))"
    got = tab.evaluate(call, [pixels.ravel().tolist(), about])
    np.testing.assert_array_equal(np.asarray(got, "float32"), expected.ravel())


def test_a_file_that_is_no_image_says_so(read: Read) -> None:
    for content, message in (
        (b"", "the file is empty"),
        (b"plain text", "this browser can't read it as an image"),
        (_save(_picture("RGB", (99, 99), 0)[0], "png")[:9000], "this browser can't read it"),
        (_save(Image.new("L", (2000, 501)), "png"), "more than 1,000,000 pixels"),
    ):
        with pytest.raises(Exception, match=message):
            read(content, "png", (8, 8))
