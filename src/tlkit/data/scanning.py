"""Scan images without a model: whether each is readable, and hashes to find duplicates."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import joblib
import numpy as np
from PIL import Image

from tlkit.data.decoding import UnreadableImageError, decode

_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a scan found out about one image.

    Attributes:
        digest: A hash of its content.
        perceptual_hash: 64 bits, few of which differ between similar images (imagehash's
            phash); 0 for an unreadable image.
        problem: Why it is unreadable; empty for a readable image.
    """

    digest: str
    perceptual_hash: int
    problem: str = ""


def scan_files(
    files: Sequence[Path], *, meter: Callable[[int], None] = lambda done: None
) -> list[Scan]:
    """Read every file completely, and return a scan of each.

    Args:
        files: The files.
        meter: Called with the number of files that are done.
    """
    scans: list[Scan] = []
    with ThreadPoolExecutor(joblib.cpu_count(), thread_name_prefix="tlkit-scan") as pool:
        for each in pool.map(_scan_file, files, chunksize=16):
            scans.append(each)
            meter(len(scans))
    return scans


def scan_images(images: Any, value_range: tuple[float, float]) -> list[Scan]:
    """Return a scan of each image.

    Args:
        images: `(count, height, width)` or with a channel axis; read one by one.
        value_range: The values of black and white.
    """
    return [_scan_pixels(image, value_range) for image in images]


def _scan_pixels(image: np.ndarray, value_range: tuple[float, float]) -> Scan:
    digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16)
    digest.update(str((image.shape, image.dtype.str)).encode())
    low, high = value_range
    grey = image.astype("float32").mean(axis=-1) if image.ndim == 3 else image.astype("float32")
    picture = Image.fromarray(np.rint(255 * (grey - low) / (high - low)).astype("uint8"))
    return Scan(digest=digest.hexdigest(), perceptual_hash=_hash(picture))


def _scan_file(file: Path) -> Scan:
    try:
        content = file.read_bytes()
    except OSError as error:
        return Scan(digest="", perceptual_hash=0, problem=error.strerror or str(error))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        pixels = decode(file, (_SIDE, _SIDE), channels=1)
    except UnreadableImageError as error:
        return Scan(digest=digest, perceptual_hash=0, problem=error.reason)
    return Scan(digest=digest, perceptual_hash=_hash(Image.fromarray(pixels[..., 0])))


def _hash(picture: Image.Image) -> int:
    return int(str(imagehash.phash(picture)), 16)
