"""Scan images without a model: whether each is readable, and hashes to find duplicates."""

import hashlib
import importlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlkit._internal import regular_files
from tlkit.data.decoding import Form, Picture, UnreadableImageError, decode_fully
from tlkit.data.threads import map_in_groups
from tlkit.errors import DataError

_SIDE = 32
_MAX_BYTES = 2**31  # the largest accepted file
_HASHED = 1024  # pictures that are hashed at a time
_HASH_SIDE = 8  # frequencies per axis


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The result of scanning one image.

    Attributes:
        digest: A hash of the image's content, in hexadecimal digits.
        perceptual_hash: 64 bits, few of which differ between similar images (imagehash's
            phash); 0 for an unreadable image.
        problem: Why the image is unreadable; empty for a readable image.
        thumbnail: 32 x 32 grey pixels of 8 bits; empty for an unreadable image.
        form: How the image's file stores pixels.
        brightest: The largest value in the image.
    """

    digest: str
    perceptual_hash: int
    problem: str = ""
    thumbnail: bytes = field(default=b"", repr=False)
    form: Form = "8-bit"
    brightest: int = 255


_ON_SCANNED: ContextVar[Callable[[int, int], None]] = ContextVar(
    "on_scanned", default=lambda done, total: None
)


@contextmanager
def observe(on_scanned: Callable[[int, int], None]) -> Iterator[None]:
    """Call a function after each picture that is scanned inside the block.

    Args:
        on_scanned: Gets the number of scanned pictures and the number of all pictures.
    """
    token = _ON_SCANNED.set(on_scanned)
    try:
        yield
    finally:
        _ON_SCANNED.reset(token)


def scan_files(files: Sequence[Path], *, white: int | None = None) -> list[Scan]:
    """Read every file completely, and return a scan of each.

    Args:
        files: The files.
        white: As for `decode`; a file with a higher value is unreadable.
    """
    return scan_pictures(files.__getitem__, range(len(files)), white=white)


def scan_pictures(
    fetch: Callable[[int], Picture],
    indices: Sequence[int],
    *,
    white: int | None = None,
) -> list[Scan]:
    """Read pictures completely, and return a scan of each.

    Args:
        fetch: Returns the picture of an index.
        indices: The pictures to scan.
        white: As for `scan_files`.
    """
    on_scanned = _ON_SCANNED.get()
    scans: list[Scan] = []
    for each in map_in_groups(lambda index: _scan_picture(partial(fetch, index), white), indices):
        scans.append(each)
        on_scanned(len(scans), len(indices))
    readable = [index for index, scan in enumerate(scans) if not scan.problem]
    pixels = (np.frombuffer(scans[index].thumbnail, "uint8") for index in readable)
    for index, found in zip(readable, hash_pixels(pixels), strict=True):
        scans[index] = replace(scans[index], perceptual_hash=found)
    return scans


def scan_images(images: Any, value_range: tuple[float, float]) -> list[Scan]:
    """Return a scan of each image.

    Args:
        images: `(count, height, width)` or with a channel axis; read one by one.
        value_range: The values of black and white.
    """
    scans: list[Scan] = []

    def read() -> Iterator[np.ndarray]:
        for image in images:
            picture = _to_grey(image, value_range)
            small = picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
            scans.append(
                Scan(digest=digest_content(image), perceptual_hash=0, thumbnail=small.tobytes())
            )
            yield np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))

    hashes = list(hash_pixels(read()))
    return [replace(scan, perceptual_hash=found) for scan, found in zip(scans, hashes, strict=True)]


def _to_grey(image: np.ndarray, value_range: tuple[float, float]) -> Image.Image:
    low, high = value_range
    grey = image.astype("float32").mean(axis=-1) if image.ndim == 3 else image.astype("float32")
    return Image.fromarray(np.rint(255 * (grey - low) / (high - low)).astype("uint8"))


# The result equals imagehash's `phash`, as a test shows, but many pictures are hashed at a time:
# one by one, the Python part of hashing took a third of a scan.
def hash_pixels(pictures: Iterable[np.ndarray]) -> Iterator[int]:
    """Yield the perceptual hash of each picture: which of its low frequencies are above the median.

    Args:
        pictures: 32 x 32 grey pixels for each picture, in any shape.
    """
    fft = importlib.import_module("scipy.fft")  # not at the top: `Predictor` works without scipy
    remaining = iter(pictures)
    while block := list(itertools.islice(remaining, _HASHED)):
        pixels = np.stack(block).reshape(-1, _SIDE, _SIDE).astype("float64")
        low = fft.dct(fft.dct(pixels, axis=1), axis=2)[:, :_HASH_SIDE, :_HASH_SIDE]
        low = low.reshape(len(block), -1)
        bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
        yield from (int.from_bytes(row.tobytes(), "big") for row in bits)


def _scan_picture(fetch: Callable[[], Picture], white: int | None) -> Scan:
    digest = ""
    try:
        picture = fetch()
        if isinstance(picture, Path):
            picture = regular_files.read_bytes(picture, max_bytes=_MAX_BYTES)
        elif not isinstance(picture, bytes | Image.Image | np.ndarray):
            picture = picture.read()
        digest = digest_content(picture)
        found = decode_fully(picture, (_SIDE, _SIDE), channels=1, white=white)
    except UnreadableImageError as error:
        return Scan(digest=digest, perceptual_hash=0, problem=error.reason)
    except OSError as error:
        return Scan(digest="", perceptual_hash=0, problem=error.strerror or str(error))
    return Scan(
        digest=digest,
        perceptual_hash=0,  # computed later, for all pictures at once
        thumbnail=found.pixels.tobytes(),
        form=found.form,
        brightest=found.brightest,
    )


def read_again(picture: Picture, scan: Scan) -> Picture:
    """Return the content of a scanned file; other pictures are returned unchanged.

    An unreadable file is returned as a path: decoding it reports the error.

    Raises:
        DataError: The file has changed since the scan, on which labels, parts and stored features
            depend.
    """
    if not isinstance(picture, Path):
        return picture
    try:
        content = regular_files.read_bytes(picture, max_bytes=_MAX_BYTES)
    except OSError:
        return picture
    if digest_content(content) != scan.digest:
        raise DataError(f"{picture} has changed since the images were scanned. Start again.")
    return content


def digest_content(picture: bytes | Image.Image | np.ndarray) -> str:
    """Return a digest of a file's content, or of pixels, in hexadecimal digits."""
    if isinstance(picture, bytes):
        return hashlib.blake2b(picture, digest_size=16).hexdigest()
    pixels = np.asarray(picture)
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16)
    digest.update(str((pixels.shape, pixels.dtype.str)).encode())
    return digest.hexdigest()
