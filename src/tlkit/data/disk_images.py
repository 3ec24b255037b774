"""Data sets that only have an order, read once onto disk so that any image can be asked for."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tlkit._internal import arguments, files
from tlkit.data import batches as data
from tlkit.data import chunks
from tlkit.data.image_dataset import ImageDataset, checked_labels
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError, StoreError

_INFINITE = -1  # what tf.data says of a data set without an end


def from_batches(
    batches: Any,
    *,
    class_names: Sequence[str],
    channels_first: bool = False,
    value_range: tuple[float, float] = (0, 255),
    folder: str | Path | None = None,
    name: str | None = None,
) -> ImageDataset:
    """Return the images of a `tf.data.Dataset`, a Keras `PyDataset` or a torch `DataLoader`.

    It is gone over once, in its order, and its images go to a file of their own dtype as they come:
    memory holds one batch. Afterwards they can be split, audited and reported on like files. The
    file has no name, and is gone when the source is.

    Args:
        batches: Yields `(images, labels)`, as often as it has batches. Labels are class indices or
            one-hot rows.
        class_names: The name of each index.
        channels_first: Whether images are `(batch, channels, height, width)`, as torch has them.
        value_range: What black and white are.
        folder: Where the file lies; by default where temporary files do.
        name: What to call them; by default their type's name.

    Raises:
        ConfigError: It has no end, or the folder is none.
        DataError: There is no image, images differ in shape, a label has no name, or there are
            weights, which a source can't keep.
        StoreError: There is not enough room on the disk.

    Examples:
        >>> loader = [(np.zeros((2, 4, 4, 3), "uint8"), np.array([0, 1]))] * 3
        >>> source = from_batches(loader, class_names=["cat", "dog"])
        >>> source.images.shape, source.counts
        ((6, 4, 4, 3), {'cat': 3, 'dog': 3})
    """
    _refuse_endless(batches)
    where = Path(tempfile.gettempdir() if folder is None else folder)
    if not where.is_dir():
        raise ConfigError(f"`folder` must be a folder that is there, got {str(folder)!r}.")
    file = tempfile.TemporaryFile(dir=where)  # noqa: SIM115  # it lives as long as the images
    try:
        given, kind, shape = _spool(batches, file, where, channels_first=channels_first)
    except OSError as error:
        raise StoreError(f"Images can't be kept in {where}: {error}") from error
    labels = checked_labels(given, class_names)
    pixels = np.memmap(file, dtype=kind, mode="r", shape=(len(labels), *shape))
    return ImageDataset(
        name=name or type(batches).__name__,
        images=LazyImages(
            lambda place: pixels[place], np.arange(len(labels)), shape=shape, dtype=str(kind)
        ),
        labels=labels,
        class_names=tuple(class_names),
        value_range=arguments.interval("value_range", value_range),
    )


def _spool(
    batches: Any, file: IO[bytes], where: Path, *, channels_first: bool
) -> tuple[np.ndarray, np.dtype[Any], tuple[int, ...]]:
    """Write all images to the file; return their labels, dtype and shape."""
    labels: list[np.ndarray] = []
    form: tuple[np.dtype[Any], tuple[int, ...]] | None = None
    again = iter(batches) if isinstance(batches, list | tuple) else batches  # two are no arrays
    for images, given, weights in data.weighted_batches(again, 1):
        if weights is not None:
            raise DataError(
                "`batches` must yield (images, labels), got weights too, which a source can't "
                "keep. Train on the data set as it is: TwoPhaseTrainer.fit takes it."
            )
        pixels = np.moveaxis(images, 1, -1) if channels_first and images.ndim == 4 else images
        if form is None:
            form = pixels.dtype, pixels.shape[1:]
            most = chunks.at_most(batches) if hasattr(batches, "__len__") else None
            files.check_room(where, (most or 0) * pixels[0].nbytes)
        if (pixels.dtype, pixels.shape[1:]) != form:
            raise DataError(
                f"`batches` images must all have one shape and dtype, got {form[1]} {form[0]} and "
                f"{pixels.shape[1:]} {pixels.dtype}. Resize them in the data set."
            )
        file.write(np.ascontiguousarray(pixels).data)
        labels.append(data.label_indices(given))
    if form is None:
        raise DataError("`batches` must hold at least one image, got none.")
    file.flush()
    return np.concatenate(labels), *form


def _refuse_endless(batches: Any) -> None:
    cardinality = getattr(batches, "cardinality", None)  # of tf.data
    endless = cardinality is not None and int(cardinality()) == _INFINITE
    if endless or getattr(batches, "num_batches", 0) is None:  # of PyDataset
        raise ConfigError(
            f"`batches` must come to an end, got a {type(batches).__name__} that repeats for ever: "
            "leave out repeat(), or take(...) so many batches."
        )
