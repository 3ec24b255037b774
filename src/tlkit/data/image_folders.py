"""Image files as a dataset: in a folder for each class, or listed in a table."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from tlkit._internal import arguments
from tlkit._internal.text import plural
from tlkit.data import decoding, manifests, naming
from tlkit.data.image_dataset import ImageDataset, Problem
from tlkit.data.image_files import describe_others, divide, find_files, is_image
from tlkit.data.reading import ReadOptions, Unreadable, read
from tlkit.errors import ConfigError, DataError

_MAX_DEPTH = 2  # of folders in which classes are searched, to name one in a message


def from_folder(
    folder: str | Path,
    *,
    image_size: int | tuple[int, int],
    fit: decoding.Fit = "squash",
    channels: int = 3,
    unreadable: Unreadable = "fail",
    max_unreadable: float = 0.1,
    class_names: Sequence[str] | None = None,
    white: int | None = None,
) -> ImageDataset:
    """Return the images of a folder that has a subfolder for each class.

    The folder of a class is searched with all its subfolders and links. Every file is read once at
    the start, so that damaged files are found then and not in the third epoch. An image is what
    Pillow can open; `print(dataset)` tells how many other files were passed over.

    Args:
        folder: The folder. Class names are the names of its subfolders, sorted; by value if all are
            numbers. Names that look the same are one class.
        image_size: Height and width that images are resized to.
        fit: "squash", "crop" or "pad", as for `tlkit.data.decoding.decode`.
        channels: 3 for RGB, 1 for grey.
        unreadable: What to do with damaged files, images without a label or outside the folder of a
            class, and classes without an image: "fail" raises an error, "skip" leaves them out,
            "replace" puts a grey image in place of a damaged file and leaves the others out.
        max_unreadable: The share of images that may be damaged, 0 to below 1.
        class_names: The classes in the order of their indices, such as a trained classifier's;
            there need not be images of all of them. By default those with a folder, sorted.
        white: The value of white in files of more than 8 bits. By default it is learned from all
            files: 4,095, that of 12 bits, if no value is higher.

    Raises:
        ConfigError: An argument is wrong, or the folder has parts such as train/ and test/.
        DataError: Something is wrong with the files; the message lists them.
    """
    root = arguments.path("folder", folder)
    classes = _find_class_folders(root)
    inner = _find_inner(classes) if len(classes) == 1 and class_names is None else None
    if inner is not None:
        raise ConfigError(
            f"`folder` must have a folder for each class, got {str(root)!r} with the folder "
            f"{classes[0].name!r} only. Read what is in it: from_folder({str(inner)!r}, ...)."
        )
    files: list[Path] = []
    others: list[Path] = []
    labels: list[str | None] = []
    problems = [
        Problem(path=naming.escape(path.name), reason="not in the folder of a class")
        for path in sorted(root.iterdir())
        if path.is_file() and not path.name.startswith(".") and is_image(path)
    ]
    for each in classes:
        found, rest = divide(find_files(each))
        files += found
        others += rest
        labels += [naming.normalize(each.name)] * len(found)
        if not found:
            reason = f"contains no image, but {plural(len(rest), 'other file')}"
            problems.append(
                Problem(path=f"{each.name}/", reason=reason if rest else "contains no image")
            )
    options = ReadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names,
        white=white,
    )
    return read(
        files.__getitem__,
        labels,
        paths=[_relative_path(file, root) for file in files],
        name=root.resolve().name,
        place=str(root),
        options=options,
        problems=problems,
        notices=[describe_others(others, root)] if others else [],
    )


def from_manifest(
    manifest: str | Path,
    *,
    image_size: int | tuple[int, int],
    folder: str | Path | None = None,
    path_column: str = "path",
    label_column: str = "label",
    group_column: str | None = None,
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
        folder: The folder that paths are relative to; by default the manifest's own.
        path_column: The column of paths.
        label_column: The column of class names, or of numbers.
        group_column: The column of groups, such as patients, that a split keeps together.
        fit: As for `from_folder`.
        channels: As for `from_folder`.
        unreadable: As for `from_folder`.
        max_unreadable: As for `from_folder`.
        class_names: As for `from_folder`.
        white: As for `from_folder`.

    Raises:
        ConfigError: There is no such file or column.
        DataError: Something is wrong with the table or the files; the message lists them.
        MissingExtraError: The extra for Parquet is not installed.
    """
    path = arguments.path("manifest", manifest)
    wanted = [path_column, label_column, *([group_column] if group_column else [])]
    table = manifests.read_columns(path, wanted)
    root = path.parent if folder is None else arguments.path("folder", folder)
    options = ReadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names,
        white=white,
    )
    groups = [str(group) for group in table[group_column]] if group_column else []
    if "" in groups:
        raise DataError(
            f"Column {group_column!r} of {str(path)!r} is empty in row {groups.index('') + 1}."
        )
    names = [str(each) for each in table[path_column]]
    _check_some_exist(names, root, path_column)
    rows = enumerate(names, start=1)
    return read(
        lambda index: root / names[index],
        naming.from_labels(table[label_column], column=label_column),
        paths=[_relative_path(root / each, root) if each else f"row {row}" for row, each in rows],
        name=path.stem,
        place=str(path),
        options=options,
        groups=groups,
        faults={
            index: f"column {path_column!r} is empty"
            for index, each in enumerate(names)
            if not each
        },
    )


def _check_some_exist(names: Sequence[str], root: Path, column: str) -> None:
    """Raise an error if no file of a table exists, which tells what their paths look like."""
    given = [name for name in names if name and not naming.find_fault(name)]
    if not given or any((root / name).exists() for name in given):
        return
    raise DataError(
        f"None of the {len(given):,} files exists that column {column!r} names, such as {given[0]}:"
        f" No such file in {str(root)!r}. {_explain_missing(given[0], root)}"
    )


def _explain_missing(name: str, root: Path) -> str:
    if "://" in name:
        return "These are web addresses: download the images, and write their paths."
    path = Path(name.replace("\\", "/"))
    if path.is_absolute() or name[1:2] == ":":
        return "These are paths of another computer: make them relative to the table's folder."
    if path != Path(name):
        exists = ": with / the first exists" if (root / path).exists() else ""
        return f"They are written with the backslashes of Windows: write / instead{exists}."
    pattern = f"{glob.escape(path.stem)}.*"
    same = [*(root / path).parent.glob(pattern), *root.glob(f"*/{pattern}")]
    if same:
        found = _relative_path(same[0], root)
        return f"There is {found!r}: write paths with their folder and ending, as that one."
    return "Paths must be relative to the folder of the table, or, in Python, to `folder`."


def _relative_path(file: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(file, root)).as_posix()
    except ValueError:  # on another drive of Windows
        return file.as_posix()


def _find_class_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise ConfigError(f"`folder` must be a folder, got {str(root)!r}: no such folder.")
    classes = _subfolders(root)
    for path in (root.resolve(), *classes):
        fault = naming.find_fault(str(path)) or (not naming.normalize(path.name) and "it is empty")
        if fault:
            raise DataError(
                f"A folder must have a name that can be written, got {path.name or str(path)!r}: "
                f"{fault}. Rename it."
            )
    if not classes:
        count = sum(path.is_file() and is_image(path) for path in root.iterdir())
        raise ConfigError(
            f"`folder` must have a folder for each class, got {str(root)!r} with no folder and "
            f"{count:,} images. Move each image into a folder named as its class, or give a .csv "
            "table of paths and labels."
        )
    parts = _find_parts(classes)
    if parts:
        inner = _find_inner(classes)
        raise ConfigError(
            f"`folder` must have a folder for each class, got {str(root)!r} with the parts "
            f"{parts}. Read each by itself"
            + (
                ". No folder in them has a folder for each class: give a .csv table of paths and "
                "labels instead."
                if inner is None
                else f": from_folder({str(inner)!r}, ...)."
            )
        )
    return classes


# Folders are parts of a data set, and no classes, if two are named as different parts (train beside
# test), or all as parts or as what lies beside images (images, labels, masks). A single "train" may
# be a class beside "bus", and numbers are of classes too; but not if the folders in them are
# classes: they are called as others beside them, or the same in each.
def _find_parts(folders: Sequence[Path]) -> list[str]:
    """Return the names of folders that are parts of a data set, if there are such."""
    names = [folder.name for folder in folders]
    roles = [name for name in names if naming.is_part(name) or naming.is_aside(name)]
    if naming.have_parts(names) or (len(roles) == len(names) and not _may_be_classes(names)):
        return roles
    within = {folder.name: {each.name for each in _subfolders(folder)} for folder in folders}
    nested = [name for name in roles if within[name] & set(names)]
    folds = [name for name in names if naming.is_fold(name)]
    common = set.intersection(*within.values())
    if len(names) > 1 and len(folds) == len(names) and len(common) > 1:
        return folds
    return nested


def _may_be_classes(names: Sequence[str]) -> bool:
    """Return whether names are one word with numbers: "test 1" and "test 2"."""
    return len(names) > 1 and len({name.rstrip("0123456789 _-") for name in names}) == 1


def _find_inner(folders: Sequence[Path]) -> Path | None:
    """Return a folder in these that has a folder for each class, first of all in "train"."""
    level = sorted(folders, key=lambda folder: "train" not in folder.name.lower())
    for _ in range(_MAX_DEPTH):
        for folder in level:
            within = _subfolders(folder)
            if len(within) > 1 and not _find_parts(within):
                return folder
        level = [each for folder in level for each in _subfolders(folder)]
    return None


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:  # it may not be read
        return []
