from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlkit.data.decoding import UnreadableImageError, decode

_RED, _BLUE = (255, 0, 0), (0, 0, 255)


def _halves(size: tuple[int, int] = (8, 4)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, _RED)
    picture.paste(_BLUE, (size[0] // 2, 0, *size))
    return picture


def _saved(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_a_picture_keeps_its_colours_and_gets_the_size(tmp_path: Path) -> None:
    pixels = decode(_saved(_halves(), tmp_path / "a.png"), (6, 10))
    assert (pixels.shape, pixels.dtype) == ((6, 10, 3), "uint8")
    assert pixels[0, 0].tolist() == list(_RED)
    assert pixels[5, 9].tolist() == list(_BLUE)


def test_a_photo_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned a quarter clockwise: what is left comes on top
    path = _saved(_halves((64, 32)), tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = decode(path, (32, 16)).astype(int)
    assert pixels[2, 8, 0] > 200 > 60 > pixels[2, 8, 2]
    assert pixels[29, 8, 2] > 200 > 60 > pixels[29, 8, 0]


@pytest.mark.parametrize("orientation", range(1, 10))
def test_a_photo_is_turned_as_pillow_turns_it(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3), "uint8")
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    turned = ImageOps.exif_transpose(picture)
    found = decode(picture, (turned.height, turned.width))
    np.testing.assert_array_equal(found, np.asarray(turned))


def test_odd_exif_that_pillow_can_not_write_again_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = _saved(_halves((64, 32)), tmp_path / "a.jpg", exif=exif, quality=95)

    def fail(*_: object) -> None:
        raise TypeError("bad operand type for abs(): 'bytes'")  # as from a damaged EXIF table

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    assert decode(path, (32, 16))[2, 8, 0] > 200


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], "uint16")
    path = _saved(Image.fromarray(values), tmp_path / "a.png")
    assert decode(path, (1, 4), channels=1)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert decode(path, (1, 4))[0, 2].tolist() == [128, 128, 128]


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    clear.putpixel((1, 0), (10, 20, 30, 255))
    assert decode(_saved(clear, tmp_path / "a.png"), (1, 2)).tolist() == [
        [[255, 255, 255], [10, 20, 30]]
    ]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([9, 8, 7])
    path = _saved(palette, tmp_path / "b.png", transparency=0)
    assert decode(path, (1, 1)).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize(
    ("mode", "color", "wanted"),
    [
        ("L", 200, [200, 200, 200]),
        ("1", 1, [255, 255, 255]),
        ("P", 0, [0, 0, 0]),
        ("LA", (70, 255), [70, 70, 70]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(
    tmp_path: Path, mode: str, color: object, wanted: list[int]
) -> None:
    kind = {"CMYK": "jpg"}.get(mode, "png")
    picture = Image.new(mode, (16, 16), color)
    path = _saved(picture, tmp_path / f"a.{kind}", **({"quality": 100} if kind == "jpg" else {}))
    np.testing.assert_allclose(decode(path, (4, 4))[2, 2], wanted, atol=3)


def test_of_a_film_the_first_picture_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), _RED), Image.new("RGB", (4, 4), _BLUE)
    path = tmp_path / "a.gif"
    first.save(path, save_all=True, append_images=[second])
    assert decode(path, (2, 2))[0, 0].tolist() == list(_RED)


@pytest.mark.parametrize(
    ("fit", "wanted"),
    [
        ("squash", [[255, 0], [255, 0]]),
        ("pad", [[0, 0], [255, 0], [255, 0], [0, 0]]),
        ("crop", [[255, 0], [255, 0]]),
    ],
)
def test_a_wide_picture_is_bent_cut_or_padded(fit: str, wanted: list[list[int]]) -> None:
    side = len(wanted)
    wide = _halves((8, 4))
    made = decode(wide, (side, side), fit=fit)[:, [0, -1], 0]
    assert (made > 128).tolist() == (np.array(wanted) > 128).tolist()


def test_a_crop_cuts_the_long_side_off() -> None:
    edges = Image.new("RGB", (8, 4), _BLUE)
    edges.paste(_RED, (2, 0, 6, 4))
    assert (decode(edges, (4, 4), fit="crop")[..., 0] == 255).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"not an image, whatever its name says", "its image format is unknown"),
    ],
)
def test_a_file_that_is_no_image_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f"a.jpg can't be read as an image: {reason}."):
        decode(path, (4, 4))


def test_a_photo_cut_short_is_found_even_when_it_is_read_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), "uint8")
    path = _saved(Image.fromarray(noise), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 5])
    with pytest.raises(UnreadableImageError, match="truncated"):
        decode(path, (8, 8))


def test_pixels_without_a_known_white_are_refused(tmp_path: Path) -> None:
    path = _saved(Image.fromarray(np.ones((2, 2), "float32")), tmp_path / "a.tif")
    with pytest.raises(UnreadableImageError, match="floating-point pixels"):
        decode(path, (2, 2))
    path = _saved(Image.fromarray(np.full((2, 2), 70000, "int32")), tmp_path / "b.tif")
    with pytest.raises(UnreadableImageError, match="32-bit pixels"):
        decode(path, (2, 2))


def test_a_picture_too_large_to_be_meant_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _saved(_halves((40, 40)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UnreadableImageError, match="decompression bomb"):
        decode(path, (4, 4))
