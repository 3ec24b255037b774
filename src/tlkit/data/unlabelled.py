"""Read images without labels in any form: arrays, files, Pillow images, bytes, folders or lists."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlkit._internal import arguments
from tlkit.data import decoding
from tlkit.data.checks import explain_missing_axis, offer_channels_last
from tlkit.data.decoding import Fit, UnreadableImageError
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.image_files import divide, find_files
from tlkit.data.lazy_images import LazyImages
from tlkit.data.threads import map_in_groups
from tlkit.errors import DataError

Images = Any
"""Images without labels: an array of one image or of many, a path, a folder, a Pillow image, the
bytes of a file, an open file, a list of any of these, `LazyImages` or an `ImageDataset`."""

_MAX_BYTES = 64 * 2**20  # of images that are read from files and in memory at a time
_ALLOWED = (
    "`images` must be an array, a path, a folder, a Pillow image, bytes of an image file, a list "
    "of these, or an ImageDataset"
)


def read_blocks(
    images: Images,
    *,
    input_shape: tuple[int | None, ...],
    value_range: tuple[float, float] | None,
    file_shape: tuple[int | None, ...] | None = None,
    batch_size: int = 128,
    **decoding_settings: Any,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield the indices of some images, and these images as one array, until all are read.

    Files are decoded as by `tlkit.sources.from_folder`: to the model's size if it has one,
    otherwise in their own size. Pixels are scaled to the model's range. Images of different sizes
    are yielded in different arrays.

    Args:
        images: The images.
        input_shape: The model's input shape, with the batch axis.
        value_range: The model's values of black and white; None means (0, 255).
        file_shape: The shape to which files are decoded; None means `input_shape`.
        batch_size: How many images of a list are read at a time.
        **decoding_settings: `fit`, `white` and `max_pixels` of `read_file`.

    Raises:
        DataError: There is no image, an image can't be read, or it is ambiguous whether an array is
            one image or many.
    """
    decoding.check_fit(decoding_settings.get("fit", "squash"))
    bounds = value_range or (0, 255)
    shapes = (input_shape, input_shape if file_shape is None else file_shape)
    read = partial(_read, shapes=shapes, bounds=bounds, settings=decoding_settings)
    found = _collect(images, bounds)
    if len(found) == 0:
        raise DataError("`images` must hold at least one image, got none.")
    if isinstance(found, np.ndarray):
        batch = _add_axes(found, input_shape)
        yield np.arange(len(batch)), batch
    elif isinstance(found, LazyImages):
        each = found.dtype.itemsize * found.size // len(found)
        rows = max(_MAX_BYTES // max(each, 1), batch_size)
        for start in range(0, len(found), rows):
            block = match_rank(found[start : start + rows], input_shape)
            yield np.arange(start, start + len(block)), block
    else:
        for start in range(0, len(found), batch_size):
            numbers = list(range(start, min(start + batch_size, len(found))))
            yield from group(
                numbers,
                list(map_in_groups(lambda at: read(found[at], at), numbers)),
            )


def read_array(images: Images, **settings: Any) -> np.ndarray:
    """Return images in one array; the settings are those of `read_blocks`.

    Raises:
        DataError: As for `read_blocks`, or the images differ in size.
    """
    blocks = [block for _, block in read_blocks(images, **settings)]
    shapes = sorted({block.shape[1:] for block in blocks})
    if len(shapes) > 1:
        raise DataError(f"`images` must all have one size, got {shapes}.")
    return np.concatenate(blocks)


def group(numbers: Sequence[int], images: Sequence[Any]) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield arrays of the images with the same shape and dtype, each with the images' numbers."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        groups[image.shape, image.dtype.str].append(row)
    for rows in groups.values():
        yield np.asarray([numbers[row] for row in rows]), np.stack([images[row] for row in rows])


def _collect(images: Images, bounds: tuple[float, float]) -> np.ndarray | LazyImages | list[Any]:
    """Return an array of one image or many, images to read later, or a list of single images."""
    if isinstance(images, ImageDataset):
        if images.value_range != bounds:
            raise DataError(
                f"`images` must have pixels in the model's range {bounds}, got an ImageDataset "
                f"with value_range={images.value_range}."
            )
        return _collect(images.images, bounds)
    if isinstance(images, LazyImages):
        return images
    if _is_file(images):
        return _expand(images)
    if isinstance(images, Iterator):
        images = list(images)
    if isinstance(images, list | tuple) and not all(isinstance(each, _NESTED) for each in images):
        return [part for each in images for part in (_expand(each) if _is_file(each) else [each])]
    array = _to_array(images, "images")
    if array.dtype.kind in "OUS" and array.ndim == 1 and len(array):  # a column of paths
        return _collect(array.tolist(), bounds)
    return _check_numbers(array, images)


_NESTED = (bool, float, int, list, tuple)  # numbers in Python's lists


def _is_file(item: object) -> bool:
    kinds = (str, Path, bytes, bytearray, memoryview, Image.Image)
    return isinstance(item, kinds) or hasattr(item, "read")


def _expand(item: Any) -> list[Any]:
    """Return one file, or all images of a folder in the order of their paths."""
    if not isinstance(item, str | Path):
        return [item]
    path = arguments.path("images", item)
    if not path.is_dir():
        return [path]
    files, _ = divide(find_files(path))
    if not files:
        raise DataError(f"`images` must hold at least one image, got none in {str(path)!r}.")
    return files


def _read(
    item: Any,
    number: int,
    *,
    shapes: tuple[tuple[int | None, ...], tuple[int | None, ...]],
    bounds: tuple[float, float],
    settings: Mapping[str, Any],
) -> np.ndarray:
    """Return one image with the axes of the model's input; the shapes are for arrays and files."""
    if not _is_file(item):
        array = _check_numbers(_to_array(item, f"images[{number}]"), item)
        (image,) = _add_axes(array, shapes[0], one=f"images[{number}]")
        return np.asarray(image)
    try:
        return read_file(_open(item), input_shape=shapes[1], value_range=bounds, **settings)
    except UnreadableImageError as error:
        if isinstance(item, Path):
            raise
        raise UnreadableImageError(f"images[{number}]", error.reason) from error


def read_file(
    picture: decoding.Picture,
    *,
    input_shape: tuple[int | None, ...],
    value_range: tuple[float, float] | None = None,
    fit: Fit = "squash",
    white: int | None = None,
    max_pixels: int | None = None,
) -> np.ndarray:
    """Return the pixels of a file with the axes, size and range of a model's input.

    Args:
        picture: A picture that `decoding.decode` accepts.
        input_shape: The model's input shape, with the batch axis.
        value_range: The model's values of black and white; None means (0, 255).
        fit: How the picture is fitted into the model's size: "squash", "crop" or "pad".
        white: As for `decoding.decode_fully`.
        max_pixels: As for `decoding.decode_fully`.

    Raises:
        UnreadableImageError: The file can't be read as an image.
        DataError: The model does not take images of 1 or 3 channels.
    """
    height, width, channels = (*input_shape[1:], 1)[:3]
    if channels not in (1, 3):
        raise DataError(
            f"`images` must be arrays for a model of {channels} channels, got a file: files are "
            "decoded to grey or RGB."
        )
    size = None if height is None or width is None else (height, width)
    how: dict[str, Any] = {"white": white, "max_pixels": max_pixels}
    return to_model(
        decoding.decode(picture, size, fit=fit, channels=channels, **how),
        input_shape=input_shape,
        value_range=value_range,
    )


def to_model(
    pixels: np.ndarray,
    *,
    input_shape: tuple[int | None, ...],
    value_range: tuple[float, float] | None,
) -> np.ndarray:
    """Return 8-bit pixels of 3 axes with the axes and the range of a model's input."""
    low, high = value_range or (0, 255)
    if (low, high) != (0, 255):
        pixels = (low + pixels.astype("float32") * ((high - low) / 255)).astype("float32")
    return pixels if len(input_shape) == 4 else pixels[..., 0]


def _open(item: Any) -> Any:
    """Return a picture for `decode`; a Pillow image is copied, since decoding may shrink a JPEG."""
    if isinstance(item, Image.Image):
        return item.copy()
    return bytes(item) if isinstance(item, bytearray | memoryview) else item


# An array of three axes can be one image with channels, or a batch of grey images; the model's
# input shape decides. It is only ambiguous without a fixed height and width. Then a last axis of 1
# counts as a channel, since no image is one pixel wide, and a last axis of 3 or 4 is an error,
# because the array may be a colour image for a grey model.
def _add_axes(array: np.ndarray, input_shape: tuple[int | None, ...], *, one: str = "") -> Any:
    """Return an array of one image or of many as a batch.

    Args:
        array: The pixels.
        input_shape: The model's input shape, with the batch axis.
        one: The name of the array if it must be one image; "" if it may be a batch.
    """
    height, width, channels = (*input_shape[1:], 1)[:3]
    grey = channels == 1
    is_image = (array.ndim == 3 and fits(array.shape, (height, width, channels))) or (
        array.ndim == 2 and grey and fits(array.shape, (height, width))
    )
    is_batch = not one and array.ndim == 3 and grey and fits(array.shape[1:], (height, width))
    wide = array.shape[-1:] not in ((1,), (3,), (4,))
    if is_batch and not wide and (width == 1 if is_image else None in (height, width)):
        raise DataError(explain_missing_axis("images", array.shape))
    if is_image:
        return match_rank(array[None], input_shape)
    if not one and (is_batch or fits(array.shape[1:], (height, width, channels))):
        return match_rank(array, input_shape)
    raise DataError(_describe(array, input_shape, one))


def match_rank(batch: np.ndarray, input_shape: tuple[int | None, ...]) -> np.ndarray:
    """Return a batch with or without an axis for a single channel, as the model's input needs."""
    if batch.ndim == len(input_shape) - 1:
        return batch[..., None]
    return batch[..., 0] if batch.ndim == len(input_shape) + 1 else batch


def _describe(array: np.ndarray, input_shape: tuple[int | None, ...], one: str) -> str:
    height, width, channels = (*input_shape[1:], 1)[:3]
    image = ", ".join("any" if axis is None else str(axis) for axis in (height, width, channels))
    many = "" if one else f" for one image, or (count, {image}) for many"
    hint = offer_channels_last(array.shape, input_shape)
    if not hint and array.ndim in (2, 3, 4) and (height, width) != (None, None):
        hint = " Files and Pillow images of any size are resized; arrays are not."
    return f"`{one or 'images'}` must have shape ({image}){many}, got {array.shape}.{hint}"


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Return whether a shape matches the wanted one, in which None accepts any length."""
    return len(shape) == len(wanted) and all(
        want in (None, have) for have, want in zip(shape, wanted, strict=True)
    )


def _to_array(values: Any, name: str) -> np.ndarray:
    if isinstance(values, set | frozenset | dict | int | float | type(None)):
        raise DataError(f"{_ALLOWED}, got {type(values).__name__} ({name}).")
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{_ALLOWED}, got {type(values).__name__} ({name}): {error}") from error


def _check_numbers(array: np.ndarray, values: Any) -> np.ndarray:
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise DataError(f"{_ALLOWED}, got {type(values).__name__}.")
    return array
