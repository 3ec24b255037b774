"""Decode image files of every kind to 8-bit pixels of one shape, with Pillow."""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tlkit._internal import arguments, regular_files
from tlkit._internal.text import show
from tlkit.data import memory_limits
from tlkit.errors import Argument, ConfigError, DataError

Fit = Literal["crop", "pad", "squash"]
Picture = Path | bytes | IO[bytes] | Image.Image | np.ndarray
Form = Literal["8-bit", "16-bit grey", "16-bit colour"]
_DEPTHS: tuple[int, ...] = (8, 10, 12, 14, 16)  # in bits, of cameras and scanners
_WHITE = (255, 255, 255, 255)
_KNOWN = "whose black and white are not known; save it with 8 or 16 bits"
_DAMAGE = (
    OSError,  # Pillow's UnidentifiedImageError, and a file cut short
    SyntaxError,  # a broken PNG
    ValueError,
    IndexError,
    EOFError,
    OverflowError,
    KeyError,
    TypeError,
    AttributeError,
    MemoryError,
    ZeroDivisionError,
    struct.error,
    Image.DecompressionBombError,
)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


PICTURE_FORMATS = frozenset(
    ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
)
"""The formats accepted from untrusted users: pictures whose decoders start no other program."""


class UnreadableImageError(DataError):
    """A file can't be read as an image; the message states which file and why.

    Attributes:
        reason: Why the file can't be read, without its name.
    """

    def __init__(self, file: object, reason: str) -> None:
        super().__init__(f"{file} can't be read as an image: {reason}.")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The pixels of an image, and the pixel format of its file.

    Attributes:
        pixels: `(height, width, channels)` in uint8.
        form: How the file stores pixels. Pillow reads "16-bit colour" as 8 bits.
        brightest: The largest value in the file; for 8-bit files, in `pixels`.
    """

    pixels: np.ndarray
    form: Form
    brightest: int


def decode(picture: Picture, size: tuple[int, int] | None, **settings: Any) -> np.ndarray:
    """Return an image as `(height, width, channels)` in uint8; see `decode_fully`.

    Examples:
        >>> decode(Image.new("CMYK", (4, 2)), (8, 8))[0, 0].tolist()
        [255, 255, 255]
    """
    return decode_fully(picture, size, **settings).pixels


def decode_fully(
    picture: Picture,
    size: tuple[int, int] | None,
    *,
    fit: Fit = "squash",
    channels: int = 3,
    white: int | None = None,
    max_pixels: int | None = None,
) -> Decoded:
    """Return an image in 8 bits, with the pixel format and the brightest value of its file.

    Only the first picture of a file is read. It is rotated according to its EXIF data, transparent
    pixels become white, pixels of more than 8 bits are scaled to 8 bits, and palettes, CMYK and
    grey are converted to the number of channels.

    Args:
        picture: A path, an open file, its content, an image of Pillow, or an array of whole
            numbers, `(height, width)` or with 1, 3 or 4 channels as its last or first axis.
        size: Height and width of the result; None keeps those of the image.
        fit: How an image with another aspect ratio is fitted: "squash" distorts it, "crop" cuts off
            its longer sides, "pad" adds black borders.
        channels: 3 for RGB, 1 for grey.
        white: The value of white in a file with more than 8 bits; the default is `find_white` of
            the file's brightest pixel.
        max_pixels: The largest accepted height times width, which is checked from the file's header
            before its pixels are decoded; None accepts any size.

    Raises:
        UnreadableImageError: The file is damaged, empty or not an image, or the values of black
            and white are unknown in its format.
    """
    try:
        with _open(picture) as opened:
            _refuse_programs(opened)
            _check_pixels(opened.size, max_pixels)
            if size is not None:  # a JPEG decodes faster at a reduced size
                opened.draft(None, (2 * size[1], 2 * size[0]))
            form = find_form(opened)
            with memory_limits.take_turn(opened.size):
                opened.load()
                eight_bits, brightest = _to_eight_bits(_rotate_upright(opened), form, white)
                coloured = eight_bits.convert("RGB" if channels == 3 else "L")
                fitted = coloured if size is None else _RESIZERS[fit](coloured, size[::-1])
                pixels = np.asarray(fitted)
    except UnreadableImageError as error:
        raise UnreadableImageError(_name(picture), error.reason) from None
    except _DAMAGE as error:
        raise UnreadableImageError(_name(picture), _reason(picture, error)) from error
    return Decoded(
        pixels=pixels if channels == 3 else pixels[..., None],
        form=form,
        brightest=int(pixels.max()) if brightest is None else brightest,
    )


def to_picture(value: Any) -> Picture:
    """Convert an image from the form of another library to one that `decode` accepts.

    Args:
        value: A form that `decode` accepts, a path as text, a tensor, nested lists, or a dict with
            the content ("bytes") or path ("path") of a file, as in Hugging Face datasets.

    Raises:
        UnreadableImageError: The value has another type.
    """
    if isinstance(value, Mapping) and {"bytes", "path"} & value.keys():
        content = value.get("bytes")
        value = value.get("path") if content is None else content
    if isinstance(value, str):
        return Path(value)
    if value is None:
        raise UnreadableImageError("A picture", "it is missing")
    if isinstance(value, Path | bytes | Image.Image):
        return value
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise UnreadableImageError("A picture", f"it is a {type(value).__name__}") from error


def find_white(brightest: int) -> int:
    """Return the value of white for the brightest pixel of all files: that of 8, 10, ... 16 bits.

    Cameras and scanners of 10, 12 or 14 bits store their pixels in files of 16 bits, so that white
    is 1,023, 4,095 or 16,383 instead of 65,535.

    Examples:
        >>> find_white(4000), find_white(65535), find_white(12)
        (4095, 65535, 255)
    """
    whites = [(1 << bits) - 1 for bits in _DEPTHS]
    return next(white for white in whites if brightest <= white)


def check_fit(fit: Fit) -> Fit:
    """Return `fit`; raise a ConfigError if it is unknown."""
    arguments.one_of("fit", fit, get_args(Fit))
    return fit


def check_channels(channels: Any) -> int:
    """Return `channels`; raise a ConfigError unless it is 3 or 1."""
    if channels not in (1, 3):
        raise ConfigError(
            Argument("channels"), f" must be 3 (RGB) or 1 (grey), got {show(channels)}."
        )
    return int(channels)


def _open(picture: Picture) -> AbstractContextManager[Image.Image]:
    if isinstance(picture, Image.Image):
        return nullcontext(picture)
    if isinstance(picture, bytes):
        return Image.open(BytesIO(picture))
    if isinstance(picture, np.ndarray):
        return nullcontext(_to_picture(picture))
    return _open_file(picture) if isinstance(picture, Path) else Image.open(picture)


@contextmanager
def _open_file(path: Path) -> Iterator[Image.Image]:
    with regular_files.open_regular(path) as file, Image.open(file) as opened:
        yield opened


def _to_picture(pixels: np.ndarray) -> Image.Image:
    """Return an array of whole numbers as an image of Pillow."""
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[-1] not in (1, 3, 4):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if not pixels.size or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,), (4,)):
        raise ValueError(f"an array of shape {pixels.shape} is not an image")
    if pixels.dtype.kind not in "iub":
        raise ValueError(f"it is an array of {pixels.dtype}, {_KNOWN}")
    if pixels.dtype == bool:
        pixels = pixels * np.uint8(255)
    if pixels.dtype == "uint8":
        return Image.fromarray(pixels)
    if pixels.ndim == 2:
        return Image.fromarray(pixels.astype("int32"))
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"it has colours from {pixels.min()} to {pixels.max()}, {_KNOWN}")
    return Image.fromarray(pixels.astype("uint8"))


def _refuse_programs(opened: Image.Image) -> None:
    """Reject PostScript, a program that Pillow runs with another program."""
    if opened.format == "EPS":
        raise UnreadableImageError("", "it is PostScript; save it as a PNG file")


def _check_pixels(size: tuple[int, int], max_pixels: int | None) -> None:
    width, height = size
    if max_pixels is not None and width * height > max_pixels:
        raise UnreadableImageError(
            "", f"it has {width:,} x {height:,} pixels, more than max_pixels={max_pixels:,}"
        )


def find_form(opened: Image.Image) -> Form:
    """Return how a file stores pixels, before they are decoded."""
    if opened.mode.startswith("I"):
        return "16-bit grey"
    tiles = getattr(opened, "tile", ())
    deep = any(";16" in str(tile[3]) for tile in tiles)  # Pillow's name of the pixels in the file
    return "16-bit colour" if deep else "8-bit"


def _rotate_upright(picture: Image.Image) -> Image.Image:
    """Return the picture rotated according to its EXIF data.

    Pillow's own function also rewrites the other EXIF data, and fails if these are damaged.
    """
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _to_eight_bits(
    picture: Image.Image, form: Form, white: int | None
) -> tuple[Image.Image, int | None]:
    """Return a picture in 8 bits, and its brightest value if it has more bits, otherwise None."""
    mode = picture.mode
    if form == "16-bit grey":
        values = np.asarray(picture).astype("float64")
        darkest, brightest = int(values.min()), int(values.max())
        if darkest < 0 or brightest > 65535:
            raise UnreadableImageError("", f"it has 32-bit pixels, {_KNOWN}")
        white = find_white(brightest) if white is None else white
        if brightest > white:
            raise UnreadableImageError(
                "", f"its brightest pixel, {brightest:,}, is above white, {white:,}"
            )
        return Image.fromarray(np.rint(values * (255 / white)).astype("uint8")), brightest
    if mode == "F":
        raise UnreadableImageError("", f"it has floating-point pixels, {_KNOWN}")
    shades = None
    if form == "16-bit colour":
        colours = np.asarray(picture)[..., : 1 if mode == "LA" else 3]
        shades = 257 * int(colours.max())
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        covered = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", covered.size, _WHITE), covered)
    return picture, shades


def _squash(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _crop(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)


def _pad(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.pad(picture, size, Image.Resampling.BILINEAR)


_RESIZERS: dict[Fit, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "crop": _crop,
    "pad": _pad,
    "squash": _squash,
}


def _name(picture: Picture) -> str:
    known = picture if isinstance(picture, Path) else getattr(picture, "filename", "")
    return str(known or "A picture")


def _reason(picture: Picture, error: BaseException) -> str:
    if isinstance(picture, Path) and picture.is_file() and picture.stat().st_size == 0:
        return "it is empty"
    if isinstance(picture, bytes) and not picture:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "its image format is unknown"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip().rstrip(".")
    return text or type(error).__name__
