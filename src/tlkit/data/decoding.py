"""Image files of every kind to 8-bit pixels of one shape, by Pillow."""

import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tlkit._internal import arguments
from tlkit.errors import Argument, ConfigError, DataError

Fit = Literal["crop", "pad", "squash"]
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
    """A file can't be read as an image; the message says which and why.

    Attributes:
        reason: Why, without the file's name.
    """

    def __init__(self, file: object, reason: str) -> None:
        super().__init__(f"{file} can't be read as an image: {reason}.")
        self.reason = reason


def decode(
    file: Path | Image.Image | IO[bytes],
    size: tuple[int, int] | None,
    *,
    fit: Fit = "squash",
    channels: int = 3,
) -> np.ndarray:
    """Return an image as `(height, width, channels)` in uint8.

    Of a file with several pictures the first is read. It is rotated as its EXIF data say,
    transparent pixels become white, 16 bits are scaled to 8, and palettes, CMYK and grey are
    converted to the number of channels.

    Args:
        file: A path, an image of Pillow, or an open file.
        size: Height and width of the result; None keeps those of the image.
        fit: How an image with another aspect ratio is fitted: "squash" distorts it, "crop" cuts off
            its longer sides, "pad" adds black borders.
        channels: 3 for RGB, 1 for grey.

    Raises:
        UnreadableImageError: The file is damaged, empty or not an image, or the values of black
            and white are unknown in its format.

    Examples:
        >>> decode(Image.new("CMYK", (4, 2)), (8, 8))[0, 0].tolist()
        [255, 255, 255]
    """
    try:
        with _open(file) as picture:
            if size is not None:  # a JPEG is decoded smaller, and faster
                picture.draft(None, (2 * size[1], 2 * size[0]))
            picture.load()
            upright = _to_eight_bits(_rotate_upright(picture))
            coloured = upright.convert("RGB" if channels == 3 else "L")
            pixels = np.asarray(coloured if size is None else _RESIZERS[fit](coloured, size[::-1]))
    except UnreadableImageError:
        raise
    except _DAMAGE as error:
        raise UnreadableImageError(_name(file), _reason(file, error)) from error
    return pixels if channels == 3 else pixels[..., None]


def check_fit(fit: Fit) -> Fit:
    """Return `fit` if it is a known way to fit an image into a shape."""
    arguments.one_of("fit", fit, get_args(Fit))
    return fit


def check_channels(channels: Any) -> int:
    """Return `channels` if it is 3 or 1."""
    if channels not in (1, 3):
        raise ConfigError(Argument("channels"), f" must be 3 (RGB) or 1 (grey), got {channels!r}.")
    return int(channels)


def _open(file: Path | Image.Image | IO[bytes]) -> AbstractContextManager[Image.Image]:
    return nullcontext(file) if isinstance(file, Image.Image) else Image.open(file)


def _rotate_upright(picture: Image.Image) -> Image.Image:
    """Return the picture rotated as its EXIF data say.

    Pillow's own function also rewrites the rest of the EXIF data, and fails if these are damaged.
    """
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _to_eight_bits(picture: Image.Image) -> Image.Image:
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


_RESIZERS: dict[Fit, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "crop": _crop,
    "pad": _pad,
    "squash": _squash,
}


def _name(file: object) -> str:
    return str(file) if isinstance(file, Path) else getattr(file, "filename", "") or "A picture"


def _reason(file: object, error: BaseException) -> str:
    if isinstance(file, Path) and file.is_file() and file.stat().st_size == 0:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "its image format is unknown"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = str(error).strip().rstrip(".")
    return text or type(error).__name__
