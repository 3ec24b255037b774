"""What is told of an image without a model: whether it is readable, and what it is like."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from tlkit.data.decoding import UnreadableImageError, decode

_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What one image is like.

    Attributes:
        digest: A hash of its content.
        likeness: 64 bits that differ in few places between pictures that look alike (imagehash's
            perceptual hash); 0 where it is unreadable.
        problem: Why it is unreadable; empty where it is not.
    """

    digest: str
    likeness: int
    problem: str = ""


def scan(
    files: Sequence[Path], *, meter: Callable[[int], None] = lambda done: None
) -> list[Scanned]:
    """Read every file whole, and return what it is like, in order.

    Args:
        files: The files.
        meter: Is told how many are done.
    """
    found = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="tlkit-scan") as pool:
        for scanned in pool.map(_scanned, files, chunksize=16):
            found.append(scanned)
            meter(len(found))
    return found


def scan_array(images: Any, value_range: tuple[float, float]) -> list[Scanned]:
    """Return what each image of an array is like.

    Args:
        images: `(count, height, width)` or with a channel axis; read one by one.
        value_range: What black and white are.
    """
    return [_scanned_pixels(image, value_range) for image in images]


def _scanned_pixels(image: np.ndarray, value_range: tuple[float, float]) -> Scanned:
    digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16)
    digest.update(str((image.shape, image.dtype.str)).encode())
    low, high = value_range
    grey = image.astype("float32").mean(axis=-1) if image.ndim == 3 else image.astype("float32")
    picture = Image.fromarray(np.rint(255 * (grey - low) / (high - low)).astype("uint8"))
    return Scanned(digest=digest.hexdigest(), likeness=_likeness(picture))


def _scanned(file: Path) -> Scanned:
    try:
        content = file.read_bytes()
    except OSError as error:
        return Scanned(digest="", likeness=0, problem=error.strerror or str(error))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        pixels = decode(file, (_SIDE, _SIDE), channels=1)
    except UnreadableImageError as error:
        return Scanned(digest=digest, likeness=0, problem=error.reason)
    return Scanned(digest=digest, likeness=_likeness(Image.fromarray(pixels[..., 0])))


def _likeness(picture: Image.Image) -> int:
    return int(str(imagehash.phash(picture)), 16)
