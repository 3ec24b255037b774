"""Create datasets from your own images: arrays, folders, tables, and other libraries' data sets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tlkit._internal import arguments, arrays
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import join_first, show
from tlkit.data import decoding, naming, part_names
from tlkit.data.disk_images import from_batches
from tlkit.data.image_dataset import ImageDataset, Problem, validate_labels, validate_rows
from tlkit.data.image_folders import from_folder, from_manifest
from tlkit.data.listings import PARTS, Listing, join, read_listing
from tlkit.data.reading import Label, ReadOptions, Unreadable
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


@check_arguments
def from_arrays(
    images: Any,
    labels: Any,
    *,
    class_names: Sequence[str],
    multi_label: bool = False,
    groups: Sequence[object] = (),
    name: str = "arrays",
    value_range: tuple[float, float] = (0, 255),
) -> ImageDataset:
    """Return images in memory as a dataset, without copying them.

    Args:
        images: `(count, height, width)` or `(count, height, width, channels)`.
        labels: The class index of each image, `(count,)`; for multi-label, rows of 0 and 1,
            `(count, classes)`.
        class_names: The name of each class, in the order of the indices.
        multi_label: Whether an image can have several classes, or none.
        groups: The group of each image, such as a patient; a split keeps groups together.
        name: The name of the dataset in a report.
        value_range: The values of black and white.

    Raises:
        DataError: The numbers of labels and images differ, or a label has no name.
    """
    indices = (validate_rows if multi_label else validate_labels)(labels, class_names)
    images = arrays.check_numbers("images", images, 3, 4)
    if len(indices) != len(images) or len(groups) not in (0, len(images)):
        raise DataError(
            f"`labels` and `groups` must be one for each of the {len(images)} images, got "
            f"{len(indices)} and {len(groups)}."
        )
    return ImageDataset(
        name=name,
        images=images,
        labels=indices,
        class_names=tuple(class_names),
        groups=tuple(map(str, groups)),
        value_range=arguments.interval("value_range", value_range),
    )


@check_arguments
def from_huggingface(
    dataset: Any,
    *,
    image_size: int | tuple[int, int],
    image: str = "image",
    label: str = "label",
    multi_label: bool = False,
    group: str | None = None,
    fit: decoding.Fit = "squash",
    channels: int = 3,
    unreadable: Unreadable = "fail",
    max_unreadable: float = 0.1,
    class_names: Sequence[str] | None = None,
    white: int | None = None,
) -> ImageDataset:
    """Return the images of a Hugging Face data set; each is scanned now, like files in a folder.

    To load a data set: `pip install 'tlkit[datasets]'` and `datasets.load_dataset(name)`. The
    splits train, validation and test of a `DatasetDict` become the `parts` of one dataset, which
    `tlkit.splits.split` uses unchanged; a validation or test split without labels is passed over.

    Class names are those of the column's `ClassLabel`; labels of another type are named by their
    value, and sorted by value if all are numbers. The data set's format, such as "numpy", has no
    effect; your own transform is applied.

    Args:
        dataset: A `Dataset` or a `DatasetDict` with a column of images: Pillow images, the content
            or paths of files, or arrays of whole numbers.
        image_size: As for `from_folder`.
        image: The column of images.
        label: The column of labels.
        multi_label: Whether an image can have several classes, or none; the column then holds lists
            of labels.
        group: The column of groups, such as patients; a split keeps groups together.
        fit: As for `from_folder`.
        channels: As for `from_folder`.
        unreadable: As for `from_folder`.
        max_unreadable: As for `from_folder`.
        class_names: As for `from_folder`.
        white: As for `from_folder`.

    Raises:
        ConfigError: A column is missing, or the dataset is a stream or has no training split.
        DataError: Images are damaged or have no label; the message lists them.
    """
    splits = _find_splits(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    listings = [
        _list_rows(rows, part, image=image, label=label, group=group, multi_label=multi_label)
        for part, rows in splits.items()
    ]
    known = _find_names(next(iter(splits.values())), label)
    options = ReadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names if class_names is not None or known is None else known,
        white=white,
    )
    listing = join(listings)
    if isinstance(dataset, Mapping):
        unused = [
            name for name, rows in dataset.items() if all(rows is not s for s in splits.values())
        ]
        listing = replace(
            listing,
            notices=[
                f"the data set's own split is used: {join_first(list(splits))}",
                *(f"passed over the split {name!r}" for name in unused),
            ],
        )
    return read_listing(
        listing,
        name="Hugging Face data set",
        place="The data set",
        options=options,
        are_files=False,
    )


def _find_names(dataset: Any, label: str) -> Sequence[str] | None:
    """Return the names of a column's classes, or of those in its lists; None if it has none."""
    feature = dataset.features[label]
    names: Sequence[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def _find_splits(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the splits of a `DatasetDict` that are parts, by "train", "validation" and "test"."""
    found: dict[str, Any] = {}
    for part in PARTS:
        named = [name for name in dataset if part_names.find_part(str(name)) == part]
        if len(named) > 1:
            raise ConfigError(
                f"`dataset` must have one {part} split, got {named}. Pass a dict of those to use."
            )
        if named:
            found[part] = dataset[named[0]]
    if "train" not in found:
        raise ConfigError(
            f"`dataset` must have a split named 'train', got {list(dataset)}. Pass one split, such "
            f"as dataset[{next(iter(dataset), 'train')!r}]."
        )
    return found


def _list_rows(
    dataset: Any, part: str, *, image: str, label: str, group: str | None, multi_label: bool
) -> Listing:
    """Return the rows of one split."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "column_names")):
        raise ConfigError(
            f"`dataset` must have a length and rows by number, got {type(dataset).__name__}: load "
            "it with streaming=False."
        )
    for column in (image, label, group):
        if column is not None and column not in dataset.column_names:
            raise ConfigError(
                f"`dataset` must have a column {show(column)}, got {show(dataset.column_names)}."
            )
    plain = dataset.with_format(None)
    known = _find_names(dataset, label)
    cells = list(plain[label])
    names: Sequence[Label]
    faults: dict[int, str] = {}
    if multi_label:
        names = naming.from_lists(cells, known, column=label)
    else:
        names, faults = _label_names(cells, known, label)
    groups = [str(each) for each in plain[group]] if group is not None else []
    if "None" in groups or "" in groups:
        row = next(row for row, each in enumerate(groups) if each in ("None", ""))
        raise DataError(f"Column {group!r} of the data set is empty in row {row}.")
    return Listing(
        fetch=_fetcher(dataset, image),
        labels=names,
        paths=[f"{part} row {row}".strip() for row in range(len(names))],
        groups=groups,
        parts=[part] * len(names) if part else (),
        faults=faults,
    )


def _label_names(
    labels: Sequence[Any], known: Sequence[str] | None, column: str
) -> tuple[list[str | None], dict[int, str]]:
    """Return the class name of each row, and the faults of rows without one; -1 is no fault."""
    if known is None:
        return naming.from_labels(labels, column=column), {}
    spelled = naming.check(known)
    naming.refuse_lists(labels, column=column)
    names = [
        spelled[label] if isinstance(label, int) and 0 <= label < len(spelled) else None
        for label in labels
    ]
    return names, {
        row: f"its label {label} is not one of the {len(spelled)} classes"
        for row, label in enumerate(labels)
        if names[row] is None and label not in (None, -1)
    }


# The format of a data set decides whether its rows are Pillow images, NumPy arrays or torch
# tensors, so the format is removed. A column of images is read as the content of files, which is
# checked and decoded like other files. Only a transform, which is the user's own, is applied.
def _fetcher(dataset: Any, column: str) -> Callable[[int], decoding.Picture]:
    """Return a function that returns the picture in a row."""
    own = (getattr(dataset, "format", None) or {}).get("type") == "custom"
    feature = type(dataset.features[column]).__name__
    if own:
        rows = dataset
    elif feature == "Image":
        rows = dataset.with_format(None)
        rows = rows.cast_column(column, type(dataset.features[column])(decode=False))
    else:
        rows = dataset.with_format("numpy" if feature.startswith("Array") else None)
    narrow = rows if own else rows.select_columns([column])

    def fetch(row: int) -> decoding.Picture:
        return decoding.to_picture(narrow[row][column])

    return fetch


@check_arguments
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


@check_arguments
def from_loader(loader: Any, *, channels_first: bool = True) -> LoaderBatches:
    """Return a torch `DataLoader` as a dataset of batches for training and evaluation.

    In contrast, `from_batches` returns an `ImageDataset`, which can be split and reported on.

    Args:
        loader: Yields `(images, labels)`.
        channels_first: Whether images are `(batch, channels, height, width)`, as in torch.
    """
    return LoaderBatches(loader, channels_first=channels_first)
