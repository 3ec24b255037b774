"""Write a dataset that can only be iterated over to disk once, so that images have an index."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import arguments, files
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.data import batches as data
from tlkit.data import chunks
from tlkit.data.checked_batches import is_endless
from tlkit.data.image_dataset import ImageDataset, validate_labels, validate_rows
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError

_INFINITE = -1  # the cardinality of an infinite tf.data.Dataset


@check_arguments
def from_batches(
    batches: Any,
    *,
    class_names: Sequence[str],
    multi_label: bool = False,
    channels_first: bool = False,
    value_range: tuple[float, float] = (0, 255),
    folder: str | Path | None = None,
    name: str | None = None,
) -> ImageDataset:
    """Return the images of a `tf.data.Dataset`, a Keras `PyDataset` or a torch `DataLoader`.

    The images are read once, in the order of the dataset, and written to a temporary file, so that
    memory holds one batch. Afterwards they can be split, audited and reported on like files. The
    file is deleted together with the returned dataset.

    Args:
        batches: Yields `(images, labels)`. Labels are class indices or one-hot rows; for
            multi-label, rows of 0 and 1.
        class_names: The name of each class, in the order of the indices.
        multi_label: Whether an image can have several classes, or none.
        channels_first: Whether images are `(batch, channels, height, width)`, as in torch.
        value_range: The values of black and white.
        folder: Where to write the file; the default is the system's folder of temporary files.
        name: The name of the dataset in a report; the default is the name of its type.

    Raises:
        ConfigError: The dataset is infinite, or the folder does not exist.
        DataError: There is no image, images differ in shape, a label has no name, or there are
            image weights.
        StoreError: The disk has too little free space.

    Examples:
        >>> loader = [(np.zeros((2, 4, 4, 3), "uint8"), np.array([0, 1]))] * 3
        >>> source = from_batches(loader, class_names=["cat", "dog"])
        >>> source.images.shape, source.counts
        ((6, 4, 4, 3), {'cat': 3, 'dog': 3})
    """
    _check_finite(batches)
    where = arguments.path("folder", tempfile.gettempdir() if folder is None else folder)
    if not where.is_dir():
        raise ConfigError(f"`folder` must be an existing folder, got {str(folder)!r}.")
    images, given = store_images(
        _unweighted(batches, channels_first=channels_first),
        folder=where,
        max_images=_count(batches),
    )
    return ImageDataset(
        name=name or type(batches).__name__,
        images=images,
        labels=validate_rows(given, class_names)
        if multi_label
        else validate_labels(data.label_indices(given), class_names),
        class_names=tuple(class_names),
        value_range=arguments.interval("value_range", value_range),
    )


def store_images(
    batches: Iterable[tuple[Any, Any]], *, folder: Path, max_images: int
) -> tuple[LazyImages, np.ndarray]:
    """Write images to a temporary file; return them and their labels.

    The file is deleted together with the returned images.

    Args:
        batches: Yields images and labels.
        folder: Where to write the file.
        max_images: The largest possible number of images, for a check of the free space in advance;
            0 if it is unknown.

    Raises:
        DataError: There is no image, or images differ in shape or dtype.
        StoreError: The disk has too little free space.
    """
    labels: list[np.ndarray] = []
    form: tuple[np.dtype[Any], tuple[int, ...]] | None = None
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # it lives as long as the images
    for images, given in batches:
        if form is None:
            form = images.dtype, images.shape[1:]
            files.check_room(folder, max_images * images[0].nbytes)
        if (images.dtype, images.shape[1:]) != form:
            raise DataError(
                f"`batches` images must all have one shape and dtype, got {form[1]} {form[0]} and "
                f"{images.shape[1:]} {images.dtype}. Resize them in the data set."
            )
        try:
            file.write(np.ascontiguousarray(images).data)
            file.flush()
        except OSError as error:
            raise files.to_store_error("write images to", folder, error) from error
        labels.append(given)
    if form is None:
        raise DataError("`batches` must hold at least one image, got none.")
    dtype, shape = form
    indices = np.arange(sum(map(len, labels)))
    pixels = np.memmap(file, dtype=dtype, mode="r", shape=(len(indices), *shape))
    images = LazyImages(lambda index: pixels[index], indices, shape=shape, dtype=str(dtype))
    return images, np.concatenate(labels)


def _unweighted(batches: Any, *, channels_first: bool) -> Iterator[tuple[Any, Any]]:
    single = isinstance(batches, str | bytes | Mapping) or getattr(batches, "ndim", None) == 0
    if single or not hasattr(batches, "__iter__"):
        raise DataError(
            "`batches` must yield (images, labels), such as a tf.data.Dataset or a list of pairs, "
            f"got {show(batches)}."
        )
    again = iter(batches) if isinstance(batches, list | tuple) else batches  # 2 batches: no arrays
    for images, labels, weights in data.weighted_batches(again, 1, "batches"):
        if weights is not None:
            raise DataError(
                "`batches` must yield (images, labels), got weights too, which an ImageDataset "
                "can't keep. Pass the dataset itself to TwoPhaseTrainer.fit."
            )
        yield (
            (np.moveaxis(images, 1, -1) if channels_first and images.ndim == 4 else images),
            labels,
        )


def _count(batches: Any) -> int:
    """Return an upper bound of the number of images; 0 if it is unknown."""
    if not hasattr(batches, "__len__"):
        return 0
    return chunks.max_images(list(batches) if isinstance(batches, tuple) else batches) or 0


def _check_finite(batches: Any) -> None:
    if is_endless(batches):
        raise ConfigError(
            f"`batches` must be finite, got a {type(batches).__name__} that repeats forever. "
            "Leave out repeat(), or use take(...)."
        )
