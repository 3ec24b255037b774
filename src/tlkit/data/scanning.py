"""Scan images without a model: whether each is readable, and hashes to find duplicates."""

import hashlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlkit._internal import regular_files, system
from tlkit.data.decoding import Form, Picture, UnreadableImageError, decode_fully
from tlkit.errors import DataError

_SIDE = 32
_MAX_BYTES = 2**31  # of a file


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a scan found out about one image.

    Attributes:
        digest: A hash of its content.
        perceptual_hash: 64 bits, few of which differ between similar images (imagehash's
            phash); 0 for an unreadable image.
        problem: Why it is unreadable; empty for a readable image.
        thumbnail: 32 x 32 grey pixels of 8 bits; empty for an unreadable image.
        form: How its file stores pixels.
        brightest: The largest value in it.
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
    """Call a function after each picture that is scanned in a block.

    Args:
        on_scanned: Gets how many are done, and how many there are.
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
        fetch: Returns the picture with this index.
        indices: The pictures to scan.
        white: As for `scan_files`.
    """
    on_scanned = _ON_SCANNED.get()
    scans: list[Scan] = []
    with ThreadPoolExecutor(system.count_cores(), thread_name_prefix="tlkit-scan") as pool:
        for each in pool.map(lambda index: _scan_picture(partial(fetch, index), white), indices):
            scans.append(each)
            on_scanned(len(scans), len(indices))
    return scans


def scan_images(images: Any, value_range: tuple[float, float]) -> list[Scan]:
    """Return a scan of each image.

    Args:
        images: `(count, height, width)` or with a channel axis; read one by one.
        value_range: The values of black and white.
    """
    return [_scan_pixels(image, value_range) for image in images]


def _scan_pixels(image: np.ndarray, value_range: tuple[float, float]) -> Scan:
    low, high = value_range
    grey = image.astype("float32").mean(axis=-1) if image.ndim == 3 else image.astype("float32")
    picture = Image.fromarray(np.rint(255 * (grey - low) / (high - low)).astype("uint8"))
    small = picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return Scan(digest=_digest(image), perceptual_hash=_hash(picture), thumbnail=small.tobytes())


def _scan_picture(fetch: Callable[[], Picture], white: int | None) -> Scan:
    digest = ""
    try:
        picture = fetch()
        if isinstance(picture, Path):
            picture = regular_files.read_bytes(picture, max_bytes=_MAX_BYTES)
        elif not isinstance(picture, bytes | Image.Image | np.ndarray):
            picture = picture.read()
        digest = _digest(picture)
        found = decode_fully(picture, (_SIDE, _SIDE), channels=1, white=white)
    except UnreadableImageError as error:
        return Scan(digest=digest, perceptual_hash=0, problem=error.reason)
    except OSError as error:
        return Scan(digest="", perceptual_hash=0, problem=error.strerror or str(error))
    return Scan(
        digest=digest,
        perceptual_hash=_hash(Image.fromarray(found.pixels[..., 0])),
        thumbnail=found.pixels.tobytes(),
        form=found.form,
        brightest=found.brightest,
    )


def read_again(picture: Picture, scan: Scan) -> Picture:
    """Return the content of a file that was scanned; other pictures are returned as they are.

    So is a file that can't be read: decoding it tells why.

    Raises:
        DataError: It has changed since: labels, parts and stored features belong to the scan.
    """
    if not isinstance(picture, Path):
        return picture
    try:
        content = regular_files.read_bytes(picture, max_bytes=_MAX_BYTES)
    except OSError:
        return picture
    if _digest(content) != scan.digest:
        raise DataError(f"{picture} has changed since the images were scanned. Start again.")
    return content


def _digest(picture: bytes | Image.Image | np.ndarray) -> str:
    if isinstance(picture, bytes):
        return hashlib.blake2b(picture, digest_size=16).hexdigest()
    pixels = np.asarray(picture)
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16)
    digest.update(str((pixels.shape, pixels.dtype.str)).encode())
    return digest.hexdigest()


def _hash(picture: Image.Image) -> int:
    imagehash = importlib.import_module("imagehash")  # which `Predictor` can do without
    return int(str(imagehash.phash(picture)), 16)
