"""Compute a digest of each image, two numbers of 64 bits, as the key of its stored features."""

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


# Idea: two files decode to the same pixels if their bytes, the settings of decoding and the
# versions of the decoders are the same, so the digest covers all three. White only matters for
# files of more than 8 bits; it is left out for others, so that adding one such file does not change
# their digests. If a setting that changes pixels were missing here, stored features of other pixels
# would be used.
def digest_decoded(
    contents: Iterable[tuple[str, int | None]], *, size: tuple[int, int], fit: str, channels: int
) -> np.ndarray:
    """Return a digest of each image file and of how it is decoded, `(count, 2)`.

    Args:
        contents: The digest of each file's content, and the value of white if the file has more
            than 8 bits.
        size: The height and width to which images are resized.
        fit: How images are fitted to this size; see `tlkit.data.decoding.decode_fully`.
        channels: 3 for RGB, 1 for grey.
    """
    how = f"{size} {fit} {channels} {describe_decoders()}"
    return digest_texts(f"{content} {how} {white}" for content, white in contents)


def describe_decoders() -> list[str | None]:
    """Return the versions of Pillow and of its decoders."""
    return [PIL.__version__, *map(PIL.features.version, ("libjpeg_turbo", "webp"))]


def to_numbers(digests: Iterable[str]) -> np.ndarray:
    """Return digests in hexadecimal digits as numbers, `(count, 2)`.

    Examples:
        >>> to_numbers(["01" + 30 * "0"]).tolist()
        [[1, 0]]
    """
    return _to_array(map(bytes.fromhex, digests))


def to_text(numbers: np.ndarray) -> list[str]:
    """Return digests in hexadecimal digits, the inverse of `to_numbers`.

    Examples:
        >>> to_text(to_numbers(["0f" * 16])) == ["0f" * 16]
        True
    """
    content = np.ascontiguousarray(numbers, "<u8").tobytes()
    return [content[at : at + _BYTES].hex() for at in range(0, len(content), _BYTES)]


def _to_array(digests: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), "<u8").astype("uint64").reshape(-1, 2)
