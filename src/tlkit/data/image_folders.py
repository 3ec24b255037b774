"""Load image files as a dataset: in a folder for each class, or listed in a table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data import decoding, manifests
from tlkit.data.folder_listing import list_folder
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.listings import Listing, join, read_listing
from tlkit.data.reading import ReadOptions, Unreadable
from tlkit.data.split_folders import SplitChoice
from tlkit.data.table_listing import Columns, check_label_columns, list_table
from tlkit.errors import Argument, ConfigError

__all__ = ["SplitChoice", "Unreadable", "from_folder", "from_manifest"]


@check_arguments
def from_folder(
    folder: str | Path,
    *,
    image_size: int | tuple[int, int],
    split: SplitChoice = "auto",
    test_data: str | Path | None = None,
    validation_data: str | Path | None = None,
    fit: decoding.Fit = "squash",
    channels: int = 3,
    unreadable: Unreadable = "fail",
    max_unreadable: float = 0.1,
    class_names: Sequence[str] | None = None,
    white: int | None = None,
    columns: Columns | None = None,
) -> ImageDataset:
    """Return the images of a folder that has a subfolder for each class.

    The folder of a class is searched with all its subfolders and links. Every file is read once at
    the start, so that damaged files are found before training. Files that have no suffix of images
    and that Pillow can't open are passed over; `print(dataset)` shows how many.

    A folder with `train/`, `val/` (or `valid/`, `validation/`) and `test/`, or some of them, each
    with a folder for each class, is one dataset whose `parts` hold this split, and which
    `tlkit.splits.split` uses unchanged.

    Args:
        folder: The folder. Class names are the names of its subfolders, sorted; by value if all are
            numbers. Names that look the same, apart from spaces and invisible characters, are one
            class.
        image_size: Height and width that images are resized to.
        split: How to interpret folders such as train/ and test/: "auto" decides by whether they
            have class folders with images, "folders" uses them as the split, "pool" joins their
            images so that they can be split again, and "random" interprets them as classes.
        test_data: Another folder or table with the test images.
        validation_data: Another folder or table with the validation images.
        fit: "squash", "crop" or "pad", as for `tlkit.data.decoding.decode`.
        channels: 3 for RGB, 1 for grey.
        unreadable: What to do with problems: damaged files, images without a label or outside the
            class folders, classes without images, and classes without training images. "fail"
            raises an error, "skip" leaves them out, "replace" replaces damaged files by grey images
            and leaves the rest out.
        max_unreadable: The share of images that may be damaged, 0 to below 1.
        class_names: The classes in the order of their indices, such as a trained classifier's; not
            every class needs images. By default the names of the subfolders, sorted.
        white: The value of white in files of more than 8 bits. By default the smallest of 255,
            1,023, 4,095, 16,383 and 65,535 that no pixel of all these files exceeds.
        columns: The columns of a table in `test_data` or `validation_data`.

    Raises:
        ConfigError: An argument is wrong, or the folder has parts that can't be used as a split.
        DataError: Something is wrong with the files; the message lists them.
    """
    arguments.one_of("split", split, get_args(SplitChoice))
    root = arguments.path("folder", folder)
    listing = list_folder(root, split=split, any_classes=class_names is not None)
    extra = {"test_data": test_data, "validation_data": validation_data}
    options = ReadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names,
        white=white,
    )
    return read_listing(
        _add_parts(listing, extra, columns=columns or Columns(), split=split),
        name=root.resolve().name,
        place=str(root),
        options=options,
    )


@check_arguments
def from_manifest(
    manifest: str | Path,
    *,
    image_size: int | tuple[int, int],
    folder: str | Path | None = None,
    path_column: str = "path",
    label_column: str = "label",
    label_separator: str | None = None,
    label_columns: Sequence[str] = (),
    group_column: str | None = None,
    split_column: str | None = None,
    outside_paths: bool = False,
    test_data: str | Path | None = None,
    validation_data: str | Path | None = None,
    fit: decoding.Fit = "squash",
    channels: int = 3,
    unreadable: Unreadable = "fail",
    max_unreadable: float = 0.1,
    class_names: Sequence[str] | None = None,
    white: int | None = None,
) -> ImageDataset:
    """Return the images that are listed in a table, with their labels.

    Args:
        manifest: A `.csv` or `.tsv` file in UTF-8, or a `.parquet` file (extra `parquet`).
        image_size: As for `from_folder`.
        folder: The folder that paths are relative to; by default the manifest's folder.
        path_column: The column of paths.
        label_column: The column of class names or numbers.
        label_separator: The character between the class names of one image, such as "|". If it is
            set, images are multi-label: they can have several classes, or none.
        label_columns: For multi-label, the columns of 0 and 1, one for each class; they replace
            `label_column`.
        group_column: The column of groups, such as patients; a split keeps groups together.
        split_column: The column of your own split: train, val (or valid, validation) and test, in
            any case; `tlkit.splits.split` uses it unchanged.
        outside_paths: Whether paths may lead out of the folder: absolute paths, and `../`. A table
            of unknown origin could list any file on this computer.
        test_data: As for `from_folder`; a table must have the same columns.
        validation_data: As for `from_folder`; a table must have the same columns.
        fit: As for `from_folder`.
        channels: As for `from_folder`.
        unreadable: As for `from_folder`.
        max_unreadable: As for `from_folder`.
        class_names: As for `from_folder`.
        white: As for `from_folder`.

    Raises:
        ConfigError: The file or a column does not exist.
        DataError: Something is wrong with the table or the files; the message lists them.
        MissingExtraError: The extra for Parquet is not installed.
    """
    path = arguments.path("manifest", manifest)
    classes = class_names
    if len(label_columns) and class_names is None:
        class_names = label_columns
    columns = Columns(
        path=path_column,
        label=label_column,
        separator=label_separator,
        labels=check_label_columns(label_column, label_separator, label_columns, classes),
        group=group_column,
        split=split_column,
        outside_paths=arguments.flag("outside_paths", outside_paths),
    )
    listing = list_table(
        path, columns, folder=folder if folder is None else arguments.path("folder", folder)
    )
    extra = {"test_data": test_data, "validation_data": validation_data}
    options = ReadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names,
        white=white,
    )
    return read_listing(
        _add_parts(listing, extra, columns=columns, split="auto"),
        name=path.stem,
        place=str(path),
        options=options,
    )


def _add_parts(
    listing: Listing,
    places: Mapping[str, str | Path | None],
    *,
    columns: Columns,
    split: SplitChoice,
) -> Listing:
    """Return a listing with the images of other folders or tables as further parts."""
    found = [listing]
    for argument, place in places.items():
        if place is None:
            continue
        part = argument.removesuffix("_data")
        if part in listing.parts:
            raise ConfigError(
                Argument(argument),
                f" must be left out for data with {part} images of its own, got {str(place)!r}.",
            )
        own = _list_place(
            arguments.path(argument, place), argument, replace(columns, split=None), split
        )
        found.append(
            replace(
                own,
                paths=[f"{argument}/{path}" for path in own.paths],
                parts=[part] * len(own),
                problems=[replace(each, path=f"{argument}/{each.path}") for each in own.problems],
                notices=[f"{len(own):,} {part} images are from {place}", *own.notices],
            )
        )
    return join(found)


def _list_place(place: Path, argument: str, columns: Columns, split: SplitChoice) -> Listing:
    if place.is_file() and place.suffix.lower() in manifests.SUFFIXES:
        return list_table(place, columns)
    wrong = "it is neither" if place.exists() else "no such file"
    if place.is_dir():
        found = list_folder(place, split="auto" if split == "folders" else split, any_classes=True)
        if not found.parts:
            return found
        wrong = "it has parts of its own: name one of them"
    raise ConfigError(
        Argument(argument),
        " must be a folder with a subfolder for each class, or a .csv or .parquet table, got "
        f"{str(place)!r}: {wrong}.",
    )
