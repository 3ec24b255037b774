"""The images on which an exported file is compared with its classifier."""

from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.data.lazy_images import LazyImages
from tlkit.deployment.metadata import Metadata

_NUM_RANDOM, _NUM_PICTURES = 40, 12
_OPEN_SIDES = (64, 51)  # pixels, an even and an odd side, if a file takes any height or width
_MODES = ("L", "RGB", "RGBA")


def make_images(about: Metadata) -> dict[str, np.ndarray]:
    """Return random raw images by name, of two sizes if the file takes images of any size.

    Args:
        about: The metadata of the file.
    """
    low, high = about.value_range or (0, 255)
    random = np.random.default_rng(0)
    sizes = _OPEN_SIDES if None in about.input_shape[1:] else _OPEN_SIDES[:1]
    found = {}
    for number, side in enumerate(sizes):
        shape = [side if axis is None else axis for axis in about.input_shape[1:]]
        pixels = random.uniform(low, high, (_NUM_RANDOM, *shape))
        found[f"images_{number}"] = pixels.astype(about.input_dtype)
    return found


def write_pictures(folder: Path, images: np.ndarray | LazyImages, about: Metadata) -> list[Path]:
    """Write some images as files: grey, RGB and RGBA, upright and oblong, of odd sizes.

    Args:
        folder: The folder to write to.
        images: Raw images.
        about: The metadata of the exported file; files are written only for 1 or 3 channels.
    """
    if (*about.input_shape[1:], 1)[2] not in (1, 3):
        return []
    low, high = about.value_range or (0, 255)
    paths = []
    for number, mode in enumerate(islice(cycle(_MODES), min(_NUM_PICTURES, len(images)))):
        pixels = (np.asarray(images[number], "float64") - low) * (255 / (high - low))
        picture = _to_picture(np.clip(np.rint(pixels), 0, 255).astype("uint8"), mode, number)
        paths.append(folder / f"{number:02}.png")
        picture.save(paths[-1])
    return paths


def _to_picture(pixels: np.ndarray, mode: str, number: int) -> Image.Image:
    grey = pixels.ndim == 3 and pixels.shape[-1] == 1
    picture = Image.fromarray(pixels[..., 0] if grey else pixels).convert("RGB")
    width, height = picture.size
    sizes = ((width, height), (2 * width + 1, height + 3), (width // 2 + 1, 3 * height // 2 + 1))
    picture = picture.resize(sizes[number // 3 % 3], Image.Resampling.BICUBIC).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture
