"""Image files of every kind to 8-bit pixels of one shape, by Pillow."""

import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tlkit._internal import arguments
from tlkit.errors import Argument, ConfigError, DataError

FITS = ("crop", "pad", "squash")
_WHITE = (255, 255, 255, 255)
_SIXTEEN = 257.0  # 65535 becomes 255
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


class UnreadableImageError(DataError):
    """A file is no image that can be shown; the message says which and why.

    Attributes:
        reason: Why, without the file.
    """

    def __init__(self, file: object, reason: str) -> None:
        super().__init__(f"{file} can't be read as an image: {reason}.")
        self.reason = reason


def decode(
    file: Path | Image.Image, size: tuple[int, int], *, fit: str = "squash", channels: int = 3
) -> np.ndarray:
    """Return an image as `(height, width, channels)` in uint8.

    The first picture of several; turned as EXIF says; transparency over white; 16 bits scaled to
    8; palettes, CMYK and grey to the channels asked for.

    Args:
        file: Its path, or a picture of Pillow.
        size: Height and width of the result.
        fit: What happens where the sides' ratio differs: "squash" keeps all of the picture and
            bends it, "crop" cuts off what is too long, "pad" adds black.
        channels: 3 for RGB, 1 for grey.

    Raises:
        UnreadableImageError: It is damaged, empty, no image, or of a kind whose black and white
            are not known.

    Examples:
        >>> decode(Image.new("CMYK", (4, 2)), (8, 8))[0, 0].tolist()
        [255, 255, 255]
    """
    height, width = size
    try:
        with _opened(file) as picture:
            picture.draft(None, (2 * width, 2 * height))  # a JPEG is decoded smaller, and faster
            picture.load()
            upright = _eight_bits(_upright(picture))
            coloured = upright.convert("RGB" if channels == 3 else "L")
            pixels = np.asarray(_SIZED[fit](coloured, (width, height)))
    except UnreadableImageError:
        raise
    except _DAMAGE as error:
        raise UnreadableImageError(_name(file), _reason(file, error)) from error
    return pixels if channels == 3 else pixels[..., None]


def check_fit(fit: Any) -> str:
    """Return `fit` where it is one of the ways."""
    return arguments.one_of("fit", fit, FITS)


def check_channels(channels: Any) -> int:
    """Return `channels` where it is 3 or 1."""
    if channels not in (1, 3):
        raise ConfigError(Argument("channels"), f" must be 3 (RGB) or 1 (grey), got {channels!r}.")
    return int(channels)


def _opened(file: Path | Image.Image) -> AbstractContextManager[Image.Image]:
    return nullcontext(file) if isinstance(file, Image.Image) else Image.open(file)


def _upright(picture: Image.Image) -> Image.Image:
    """Return the picture as EXIF says it was held; Pillow's own way fails where EXIF is odd.

    It writes the rest of EXIF anew, which is of no use here.
    """
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _eight_bits(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode.startswith("I;16") or mode == "I":
        values = np.asarray(picture).astype("float64")
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImageError(
                _name(picture), "it has 32-bit pixels, whose black and white are not known"
            )
        return Image.fromarray(np.rint(values / _SIXTEEN).astype("uint8"))
    if mode == "F":
        raise UnreadableImageError(
            _name(picture), "it has floating-point pixels, whose black and white are not known"
        )
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        covered = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", covered.size, _WHITE), covered)
    return picture


def _squash(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _crop(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)


def _pad(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.pad(picture, size, Image.Resampling.BILINEAR)


_SIZED: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "crop": _crop,
    "pad": _pad,
    "squash": _squash,
}


def _name(file: Path | Image.Image) -> str:
    return str(file) if isinstance(file, Path) else getattr(file, "filename", "") or "A picture"


def _reason(file: Path | Image.Image, error: BaseException) -> str:
    if isinstance(file, Path) and file.is_file() and file.stat().st_size == 0:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a known kind"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = str(error).strip().rstrip(".")
    return text or type(error).__name__
