"""A digest of each image, as two numbers of 64 bits: what features are stored under."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import PIL
import PIL.features

_BYTES = 16


def digest_pixels(images: Iterable[Any]) -> np.ndarray:
    """Return a digest of each image's dtype, shape and pixels, `(count, 2)`.

    Examples:
        >>> one, other, again = digest_pixels(np.array([[[1]], [[2]], [[1]]], "uint8"))
        >>> bool((one == again).all()), bool((one == other).all())
        (True, False)
    """
    found = []
    for image in images:
        pixels = np.ascontiguousarray(image)
        digest = hashlib.blake2b(f"{pixels.dtype.str} {image.shape}".encode(), digest_size=_BYTES)
        digest.update(pixels.reshape(-1).view("uint8").data)
        found.append(digest.digest())
    return _to_array(found)


def digest_texts(texts: Iterable[str]) -> np.ndarray:
    """Return a digest of each text, `(count, 2)`."""
    return _to_array(hashlib.blake2b(text.encode(), digest_size=_BYTES).digest() for text in texts)


# Two files are decoded to the same pixels if all of this is the same: their bytes, the settings of
# decoding, and the versions of what decodes. White matters to files of more than 8 bits only, so
# that one such file more does not change the digests of all others. A setting that changes pixels
# and is missing here would let stored features be used for other pixels.
def digest_decoded(
    contents: Iterable[tuple[str, int | None]], *, size: tuple[int, int], fit: str, channels: int
) -> np.ndarray:
    """Return a digest of each image file and of how it is decoded, `(count, 2)`.

    Args:
        contents: The digest of each file's content, and white if it has more than 8 bits.
        size: The height and width that it is resized to.
        fit: How it is fitted into them.
        channels: 3 for RGB, 1 for grey.
    """
    how = f"{size} {fit} {channels} {describe_decoders()}"
    return digest_texts(f"{content} {how} {white}" for content, white in contents)


def describe_decoders() -> list[str | None]:
    """Return the versions of Pillow and of the libraries that it decodes by."""
    return [PIL.__version__, *map(PIL.features.version, ("libjpeg_turbo", "webp"))]


def _to_array(digests: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), "<u8").astype("uint64").reshape(-1, 2)
