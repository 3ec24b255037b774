"""Image files as a dataset: in a folder for each class, or listed in a table."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.text import join_first
from tlkit.data import decoding, manifests, scanning
from tlkit.data.image_dataset import ImageDataset, Problem, pick
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import Argument, ConfigError, DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
Unreadable = Literal["fail", "replace", "skip"]
_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
_GREY = 128  # what stands in for an image that can't be read


def from_folder(
    folder: str | Path,
    *,
    image_size: int | tuple[int, int],
    fit: decoding.Fit = "squash",
    channels: int = 3,
    unreadable: Unreadable = "fail",
    max_unreadable: float = 0.1,
    class_names: Sequence[str] | None = None,
) -> ImageDataset:
    """Return the images of a folder that has a subfolder for each class.

    The folder of a class is searched with all its subfolders and links. Every file is read once at
    the start, so that damaged files are found then and not in the third epoch. Files without the
    ending of an image format are ignored.

    Args:
        folder: The folder. Class names are the names of its subfolders, sorted.
        image_size: Height and width that images are resized to.
        fit: "squash", "crop" or "pad", as for `tlkit.data.decoding.decode`.
        channels: 3 for RGB, 1 for grey.
        unreadable: What to do with damaged files, images outside the folder of a class, and classes
            without an image: "fail" raises an error, "skip" leaves them out, "replace" puts a grey
            image in place of a damaged file and leaves the others out.
        max_unreadable: The share of images that may be damaged, 0 to below 1.
        class_names: The classes in the order of their indices, such as a trained classifier's;
            there need not be images of all of them. By default those with a folder, sorted.

    Raises:
        ConfigError: An argument is wrong, or the folder has parts such as train/ and test/.
        DataError: Something is wrong with the files; the message lists them.
    """
    root = Path(folder)
    classes = _find_class_folders(root)
    files: list[Path] = []
    labels: list[str] = []
    problems = [
        Problem(path=path.name, reason="not in the folder of a class")
        for path in sorted(root.iterdir())
        if path.is_file() and _is_image(path)
    ]
    for each in classes:
        found = sorted(find_images(each))
        files += found
        labels += [each.name] * len(found)
        if not found:
            problems.append(Problem(path=f"{each.name}/", reason="contains no image"))
    options = _ReadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names,
    )
    return _from_files(
        files, labels, name=root.resolve().name, root=root, problems=problems, options=options
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
) -> ImageDataset:
    """Return the images that are listed in a table, with their labels.

    Args:
        manifest: A `.csv` file in UTF-8, or a `.parquet` file (extra `parquet`).
        image_size: As for `from_folder`.
        folder: The folder that paths are relative to; by default the manifest's own.
        path_column: The column of paths.
        label_column: The column of class names.
        group_column: The column of groups, such as patients, that a split keeps together.
        fit: As for `from_folder`.
        channels: As for `from_folder`.
        unreadable: As for `from_folder`.
        max_unreadable: As for `from_folder`.
        class_names: As for `from_folder`.

    Raises:
        ConfigError: There is no such file or column.
        DataError: Something is wrong with the table or the files; the message lists them.
        MissingExtraError: The extra for Parquet is not installed.
    """
    path = Path(manifest)
    wanted = [path_column, label_column, *([group_column] if group_column else [])]
    table = manifests.read_columns(path, wanted)
    root = path.parent if folder is None else Path(folder)
    options = _ReadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names,
    )
    groups = tuple(table[group_column]) if group_column else ()
    files = [root / each for each in table[path_column]]
    return _from_files(
        files, table[label_column], name=path.stem, root=root, groups=groups, options=options
    )


@dataclass(frozen=True, kw_only=True)
class _ReadOptions:
    """How files are read as images."""

    image_size: tuple[int, int]
    fit: decoding.Fit
    channels: int
    unreadable: Unreadable
    max_unreadable: float
    class_names: Sequence[str] | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", arguments.size("image_size", self.image_size))
        decoding.check_fit(self.fit)
        decoding.check_channels(self.channels)
        arguments.one_of("unreadable", self.unreadable, get_args(Unreadable))
        arguments.fraction("max_unreadable", self.max_unreadable)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.image_size, self.channels)

    def read(self, file: Path) -> np.ndarray:
        return decoding.decode(file, self.image_size, fit=self.fit, channels=self.channels)


def _from_files(
    files: Sequence[Path],
    labels: Sequence[str],
    *,
    name: str,
    root: Path,
    options: _ReadOptions,
    groups: Sequence[str] = (),
    problems: Sequence[Problem] = (),
) -> ImageDataset:
    paths = tuple(_relative_path(file, root) for file in files)
    scans = tuple(scanning.scan_files(files))
    damaged = {index for index, scan in enumerate(scans) if scan.problem}
    found = [Problem(path=paths[index], reason=scans[index].problem) for index in sorted(damaged)]
    problems = (*problems, *found)
    _check_problems(problems, found, len(files), options)
    replace = options.unreadable == "replace"
    kept = [index for index in range(len(files)) if replace or index not in damaged]
    names = _class_names({labels[index] for index in kept}, options.class_names, root)
    grey = np.full(options.shape, _GREY, "uint8")
    return ImageDataset(
        name=name,
        images=LazyImages(
            lambda index: grey if index in damaged else options.read(files[index]),
            kept,
            shape=options.shape,
        ),
        labels=np.asarray([names.index(labels[index]) for index in kept], dtype="int64"),
        class_names=names,
        paths=pick(paths, kept),
        groups=pick(tuple(groups), kept),
        problems=problems,
        known_scans=pick(scans, kept),
    )


def _class_names(
    present: Iterable[str], wanted: Sequence[str] | None, root: Path
) -> tuple[str, ...]:
    """Return the class names that labels are indices into."""
    found = tuple(sorted(present))
    if wanted is None and len(found) < 2:
        raise DataError(
            f"{str(root)!r} must have images of at least 2 classes, got {list(found) or 'none'}."
        )
    unknown = [] if wanted is None else sorted(set(found) - set(wanted))
    if unknown or not found:
        raise DataError(
            f"{str(root)!r} must have images of the classes {list(wanted or ())}, got "
            f"{unknown or 'none'}."
        )
    return found if wanted is None else tuple(wanted)


def _relative_path(file: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(file, root)).as_posix()
    except ValueError:  # on another drive of Windows
        return file.as_posix()


def _check_problems(
    problems: Sequence[Problem], damaged: Sequence[Problem], count: int, options: _ReadOptions
) -> None:
    """Raise an error for problems that the options do not allow."""
    if problems and options.unreadable == "fail":
        raise DataError(
            f"{len(problems):,} problems found: {join_first(problems, limit=10, separator='; ')}. "
            "Fix the files, or skip them with ",
            Argument("unreadable", "skip"),
            ".",
        )
    if len(damaged) > options.max_unreadable * count:
        raise DataError(
            f"At most {100 * options.max_unreadable:g} % of the images may be unreadable, got "
            f"{len(damaged):,} of {count:,}: {join_first(damaged, limit=10, separator='; ')}. "
            "To accept more, raise ",
            Argument("max_unreadable"),
            ".",
        )


def _find_class_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise ConfigError(f"`folder` must be a folder, got {str(root)!r}: no such folder.")
    classes = sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not classes:
        count = sum(path.is_file() and _is_image(path) for path in root.iterdir())
        raise ConfigError(
            f"`folder` must have a folder for each class, got {str(root)!r} with no folder and "
            f"{count:,} images. Move each image into a folder named as its class, or give a .csv "
            "table of paths and labels."
        )
    parts = [path.name for path in classes if path.name.lower() in _PARTS]
    if classes and len(parts) == len(classes):
        raise ConfigError(
            f"`folder` must have a folder for each class, got {str(root)!r} with the parts "
            f"{parts}. Read each by itself: from_folder({str(root / parts[0])!r}, ...)."
        )
    return classes


def find_images(folder: Path) -> Iterator[Path]:
    """Yield the image files in a folder and its subfolders.

    Links to folders are followed, but no folder is entered twice, nor one that contains this one.

    Args:
        folder: The folder.
    """
    entered = {str(above) for above in folder.resolve().parents}
    for path, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(path, name) for name in names if _is_image(Path(name)))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
