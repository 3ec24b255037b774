"""Image files in a folder for each class, or named by a table, as a source of labelled images."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.text import join_first
from tlkit.data import decoding, manifests, scanning
from tlkit.data.image_dataset import ImageDataset, Problem, chosen
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import Argument, ConfigError, DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
POLICIES = ("fail", "replace", "skip")
_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
_GREY = 128  # what stands in for an image that can't be read


def from_folder(
    folder: str | Path,
    *,
    image_size: int | tuple[int, int],
    fit: str = "squash",
    channels: int = 3,
    unreadable: str = "fail",
    max_unreadable: float = 0.1,
    class_names: Sequence[str] | None = None,
) -> ImageDataset:
    """Return the images of a folder that has a folder for each class.

    A class's own folders are looked through too, and links followed, though never in a circle.
    Every file is read once at the start; damaged ones are found then, not in the third epoch.
    Files whose names don't end as images do are passed over.

    Args:
        folder: The folder. Class names are its folders' names, sorted.
        image_size: Height and width that images are read at.
        fit: "squash", "crop" or "pad", as for `tlkit.data.decoding.decode`.
        channels: 3 for RGB, 1 for grey.
        unreadable: What happens to damaged files, images in no class's folder and classes without
            an image: "fail" raises, "skip" leaves them out, "replace" has a grey picture in place
            of a damaged file and leaves the others out.
        max_unreadable: The share of images that may be damaged, 0 to below 1.
        class_names: Which classes there are, in the order of their numbers, such as a trained
            classifier's; images of no more than some of them will do. By default those there are.

    Raises:
        ConfigError: An argument is wrong, or the folder has parts such as train/ and test/.
        DataError: Something is wrong with the files; the message lists them.
    """
    root = Path(folder)
    classes = _class_folders(root)
    files: list[Path] = []
    labels: list[str] = []
    problems = [
        Problem(path=path.name, reason="it lies in no class's folder")
        for path in sorted(root.iterdir())
        if path.is_file() and _is_image(path)
    ]
    for each in classes:
        found = sorted(images_within(each))
        files += found
        labels += [each.name] * len(found)
        if not found:
            problems.append(Problem(path=f"{each.name}/", reason="it holds no image"))
    how = _How(
        image_size=image_size,  # type: ignore[arg-type]  # a number becomes a pair
        fit=fit,
        channels=channels,
        unreadable=unreadable,
        max_unreadable=max_unreadable,
        class_names=class_names,
    )
    return _from_files(
        files, labels, name=root.resolve().name, root=root, problems=problems, how=how
    )


def from_manifest(
    manifest: str | Path,
    *,
    image_size: int | tuple[int, int],
    folder: str | Path | None = None,
    path_column: str = "path",
    label_column: str = "label",
    group_column: str | None = None,
    fit: str = "squash",
    channels: int = 3,
    unreadable: str = "fail",
    max_unreadable: float = 0.1,
    class_names: Sequence[str] | None = None,
) -> ImageDataset:
    """Return the images that a table names, with a label for each.

    Args:
        manifest: A `.csv` file in UTF-8, or a `.parquet` file (extra `parquet`).
        image_size: As for `from_folder`.
        folder: Where the paths begin; by default the manifest's own folder.
        path_column: The column of paths.
        label_column: The column of class names.
        group_column: The column of what each image belongs with; None where each is alone.
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
    table = manifests.columns(path, wanted)
    root = path.parent if folder is None else Path(folder)
    how = _How(
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
        files, table[label_column], name=path.stem, root=root, groups=groups, how=how
    )


@dataclass(frozen=True, kw_only=True)
class _How:
    """How files become images."""

    image_size: tuple[int, int]
    fit: str
    channels: int
    unreadable: str
    max_unreadable: float
    class_names: Sequence[str] | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", arguments.size("image_size", self.image_size))
        decoding.check_fit(self.fit)
        decoding.check_channels(self.channels)
        arguments.one_of("unreadable", self.unreadable, POLICIES)
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
    how: _How,
    groups: Sequence[str] = (),
    problems: Sequence[Problem] = (),
) -> ImageDataset:
    paths = tuple(_told(file, root) for file in files)
    scanned = tuple(scanning.scan(files))
    damaged = [place for place, each in enumerate(scanned) if each.problem]
    found = [Problem(path=paths[place], reason=scanned[place].problem) for place in damaged]
    problems = (*problems, *found)
    _judge(problems, found, len(files), how)
    gone = set(damaged)
    replaced = how.unreadable == "replace"
    kept = [place for place in range(len(files)) if replaced or place not in gone]
    names = _class_names({labels[place] for place in kept}, how.class_names, root)
    grey = np.full(how.shape, _GREY, "uint8")
    return ImageDataset(
        name=name,
        images=LazyImages(
            lambda place: grey if place in gone else how.read(files[place]), kept, shape=how.shape
        ),
        labels=np.asarray([names.index(labels[place]) for place in kept], dtype="int64"),
        class_names=names,
        paths=chosen(paths, kept),
        groups=chosen(tuple(groups), kept),
        problems=problems,
        known=chosen(scanned, kept),
    )


def _class_names(there: Iterable[str], wanted: Sequence[str] | None, root: Path) -> tuple[str, ...]:
    """Return the names that labels are numbered by."""
    found = tuple(sorted(there))
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


def _told(file: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(file, root)).as_posix()
    except ValueError:  # it lies on another drive of Windows
        return file.as_posix()


def _judge(problems: Sequence[Problem], damaged: Sequence[Problem], count: int, how: _How) -> None:
    """Refuse what the policy does not bear."""
    if problems and how.unreadable == "fail":
        raise DataError(
            f"{len(problems):,} problems found: {join_first(problems, limit=10, separator='; ')}. "
            "Fix the files, or skip them with ",
            Argument("unreadable", "skip"),
            ".",
        )
    if len(damaged) > how.max_unreadable * count:
        raise DataError(
            f"At most {100 * how.max_unreadable:g} % of the images may be unreadable, got "
            f"{len(damaged):,} of {count:,}: {join_first(damaged, limit=10, separator='; ')}. "
            "To accept more, raise ",
            Argument("max_unreadable"),
            ".",
        )


def _class_folders(root: Path) -> list[Path]:
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


def images_within(folder: Path) -> Iterator[Path]:
    """Yield the image files of a folder and its folders; none of those is entered twice.

    Nor is a folder that this one lies in, to which a link may lead back.

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
