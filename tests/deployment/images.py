"""Image files, and files that are none, for the tests of what reads them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def make_picture(mode: str = "RGB", size: tuple[int, int] = (50, 37)) -> Image.Image:
    """Return noise."""
    pixels = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), "uint8")
    return Image.fromarray(pixels).convert(mode)


def encode(picture: Image.Image, form: str = "PNG") -> bytes:
    """Return the content of an image file."""
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()


def make_png_header(width: int, height: int) -> bytes:
    """Return a PNG file that says that it is large, and holds no pixels."""
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for chunk in (b"IHDR" + header, b"IDAT" + zlib.compress(b"")):
        content += struct.pack(">I", len(chunk) - 4) + chunk
        content += struct.pack(">I", zlib.crc32(chunk))
    return content


def make_tiff_of_five_channels() -> bytes:
    """Return a TIFF file as of a satellite."""
    entries = [(256, 4, 4), (257, 4, 4), (258, 3, 8), (259, 3, 1), (262, 3, 2), (273, 4, 200)]
    entries += [(277, 3, 5), (278, 4, 4), (279, 4, 80)]
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", 0)
    return head.ljust(200, b"\0") + bytes(80)
