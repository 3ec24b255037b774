"""Images of your own in one form: from arrays, folders, tables, other libraries' data sets."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.text import join_first
from tlkit.data import decoding
from tlkit.data.disk_images import from_batches
from tlkit.data.image_dataset import ImageDataset, Problem, validate_labels
from tlkit.data.image_folders import from_folder, from_manifest
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError

__all__ = [
    "ImageDataset",
    "LoaderBatches",
    "Problem",
    "from_arrays",
    "from_batches",
    "from_folder",
    "from_huggingface",
    "from_loader",
    "from_manifest",
]


def from_arrays(
    images: Any,
    labels: Any,
    *,
    class_names: Sequence[str],
    groups: Sequence[str] = (),
    name: str = "arrays",
    value_range: tuple[float, float] = (0, 255),
) -> ImageDataset:
    """Return images in memory as a dataset, without copying them.

    Args:
        images: `(count, height, width)` or with a channel axis.
        labels: The class index of each image.
        class_names: The name of each class.
        groups: The group of each image, such as a patient, that a split keeps together.
        name: The name of the dataset in a report.
        value_range: The values of black and white.

    Raises:
        DataError: The numbers of labels and images differ, or a label has no name.
    """
    indices = validate_labels(labels, class_names)
    if len(indices) != len(images) or len(groups) not in (0, len(images)):
        raise DataError(
            f"`labels` and `groups` must be one for each of the {len(images)} images, got "
            f"{len(indices)} and {len(groups)}."
        )
    return ImageDataset(
        name=name,
        images=np.asarray(images),
        labels=indices,
        class_names=tuple(class_names),
        groups=tuple(map(str, groups)),
        value_range=arguments.interval("value_range", value_range),
    )


def from_huggingface(
    dataset: Any,
    *,
    image_size: int | tuple[int, int],
    image: str = "image",
    label: str = "label",
    group: str | None = None,
    fit: decoding.Fit = "squash",
    channels: int = 3,
) -> ImageDataset:
    """Return the images of a Hugging Face `datasets.Dataset`, decoded as they are needed.

    Get one with `pip install 'tlkit[datasets]'` and `datasets.load_dataset(name, split="train")`.

    Class names are those of its `ClassLabel`; labels of another type are named by their value.

    Args:
        dataset: One split with a column of images.
        image_size: As for `from_folder`.
        image: The column of images.
        label: The column of labels.
        group: The column of groups, such as patients, that a split keeps together.
        fit: As for `from_folder`.
        channels: As for `from_folder`.

    Raises:
        ConfigError: A column is missing, or the dataset is several splits or a stream.
        DataError: An image has no label.
    """
    if isinstance(dataset, Mapping):
        raise ConfigError(
            f"`dataset` must be one split of a data set, such as dataset[{next(iter(dataset))!r}], "
            f"got all of {list(dataset)}."
        )
    if not hasattr(dataset, "__len__"):
        raise ConfigError(
            f"`dataset` must have a length and rows by number, got {type(dataset).__name__}: load "
            "it with streaming=False."
        )
    for column in filter(None, (image, label, group)):
        if column not in dataset.column_names:
            raise ConfigError(
                f"The data set must have a column {column!r}, got {dataset.column_names}."
            )
    indices, names = _labels(list(dataset[label]), getattr(dataset.features[label], "names", None))
    height, width = arguments.size("image_size", image_size)
    decode = partial(
        decoding.decode,
        size=(height, width),
        fit=decoding.check_fit(fit),
        channels=decoding.check_channels(channels),
    )
    return ImageDataset(
        name="Hugging Face data set",
        images=LazyImages(
            lambda index: decode(dataset[index][image]),
            np.arange(len(indices)),
            shape=(height, width, channels),
        ),
        labels=indices,
        class_names=names,
        groups=tuple(map(str, dataset[group])) if group else (),
    )


def _labels(
    values: Sequence[Any], names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return class indices and names; a public test's labels are often missing, or -1."""
    indices = None if names is None else range(len(names))
    missing = [
        row
        for row, value in enumerate(values)
        if value is None or (indices is not None and value not in indices)
    ]
    if missing:
        raise DataError(
            f"Every image must have a label, got none, or none of a class, for {len(missing):,} of "
            f"{len(values):,}, in rows {join_first(missing)}. Filter those out first."
        )
    if names is None:
        names = sorted(set(map(str, values)))
        values = [names.index(str(value)) for value in values]
    return np.asarray(values, dtype="int64"), tuple(map(str, names))


class LoaderBatches:
    """The batches of a torch `DataLoader` as NumPy arrays; see `from_loader`."""

    def __init__(self, loader: Any, *, channels_first: bool) -> None:
        self._loader, self._channels_first = loader, channels_first

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for images, labels in self._loader:
            pixels = np.asarray(images)
            yield (
                (np.moveaxis(pixels, 1, -1) if self._channels_first else pixels),
                np.asarray(labels),
            )


def from_loader(loader: Any, *, channels_first: bool = True) -> LoaderBatches:
    """Return a torch `DataLoader` as a dataset of batches for training and evaluation.

    `from_batches` returns an `ImageDataset` instead, which can be split and reported on.

    Args:
        loader: Yields `(images, labels)`.
        channels_first: Whether images are `(batch, channels, height, width)`, as torch has them.
    """
    return LoaderBatches(loader, channels_first=channels_first)
