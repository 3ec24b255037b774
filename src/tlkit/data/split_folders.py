"""Recognize a folder's own split: train/, val/ and test/, each with a folder for each class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlkit._internal.text import join_first
from tlkit.data import naming, part_names
from tlkit.data.image_files import find_files, is_image
from tlkit.data.listings import PARTS
from tlkit.errors import Argument, ConfigError

SplitChoice = Literal["auto", "folders", "pool", "random"]
"""How to interpret folders such as train/ and test/; see `tlkit.sources.from_folder`."""


@dataclass(frozen=True, kw_only=True)
class SplitFolders:
    """The folders of a user's own split.

    Attributes:
        parts: The folder that contains the class folders, by "train", "validation" and "test".
        notices: Assumptions, and folders that were passed over.
    """

    parts: Mapping[str, Path]
    notices: tuple[str, ...]


# A name alone does not decide: "train" beside "bus" is a vehicle. So a folder is a part if it has
# the name of a part and contains class folders with images. Folders are a split if one of them is
# the training part, and if another is a part too or no other folder has images. Folders with such
# names but without class folders contain images without labels, like many public test sets, and
# are passed over. See decision 21.
def find_split(root: Path, folders: Sequence[Path], split: SplitChoice) -> SplitFolders | None:
    """Return the parts among the subfolders of a folder; None if the subfolders are classes.

    Args:
        root: The folder.
        folders: Its subfolders.
        split: As for `tlkit.sources.from_folder`.

    Raises:
        ConfigError: Two folders have the name of the same part, or `split` requires parts and there
            are none.
    """
    if split == "random":
        return None
    named = {folder: part_names.find_part(folder.name) for folder in folders}
    inner = {folder: _find_classes(folder, part) for folder, part in named.items() if part}
    found: dict[str, list[Path]] = {
        part: [folder for folder in folders if named[folder] == part and inner[folder]]
        for part in PARTS
    }
    if not found["train"] and split == "auto":
        return None
    others = [folder for folder in folders if not inner.get(folder) and _has_images(folder)]
    if split == "auto" and _may_be_classes(found, others):
        return None
    if not found["train"]:
        raise ConfigError(
            Argument("split"),
            f" can only be {split!r} for a folder with train/, and val/ or test/, each with a "
            f"folder for each class, got {str(root)!r} with "
            f"{join_first([each.name for each in folders]) or 'no folder'}.",
        )
    parts = _take_one_of_each(found, root)
    passed_over = [
        f"passed over the folder {naming.escape(each.name)}/: it has images, but is no part with a "
        "folder for each class"
        for each in others
    ]
    return SplitFolders(
        parts={part: inner[folder] or root for part, folder in parts.items()},
        notices=(_describe(parts, split), *passed_over),
    )


def _may_be_classes(found: Mapping[str, Sequence[Path]], others: Sequence[Path]) -> bool:
    """Return whether the only part is beside folders of images that may be classes."""
    strangers = [
        each
        for each in others
        if not (part_names.is_part(each.name) or part_names.is_aside(each.name))
    ]
    return sum(map(bool, found.values())) == 1 and bool(strangers)


def _take_one_of_each(found: Mapping[str, Sequence[Path]], root: Path) -> dict[str, Path]:
    """Return the folder of each part that exists."""
    for part, folders in found.items():
        if len(folders) > 1:
            raise ConfigError(
                f"One folder must hold the {part} images, got "
                f"{join_first([each.name for each in folders])} in {str(root)!r}. Join them, "
                "or move one away."
            )
    return {part: folders[0] for part, folders in found.items() if folders}


def _describe(parts: Mapping[str, Path], split: SplitChoice) -> str:
    """Return a notice of how the folders of parts are used."""
    if split == "pool":
        joined = join_first([folder.name for folder in parts.values()])
        return f"the images of {joined} are joined, and split again"
    names = [f"{folder.name}/ for {_PURPOSES[part]}" for part, folder in parts.items()]
    return f"the folder's own split is used: {join_first(names)}"


_PURPOSES = {"train": "training", "validation": "validation", "test": "testing"}


def _find_classes(folder: Path, part: str | None) -> Path | None:
    """Return the folder that contains the class folders: this one, or one of its name inside it."""
    within = list(subfolders(folder))
    if len(within) == 1 and part_names.find_part(within[0].name) == part:
        return _find_classes(within[0], part)
    filled = [each for each in within if not part_names.is_aside(each.name) and _has_images(each)]
    several = len(filled) > 1
    return folder if several or (filled and not _has_images_itself(folder)) else None


def _has_images(folder: Path) -> bool:
    return any(map(is_image, find_files(folder)))


def _has_images_itself(folder: Path) -> bool:
    return any(each.is_file() and is_image(each) for each in folder.iterdir())


def subfolders(folder: Path) -> Iterator[Path]:
    """Yield the subfolders of a folder in the order of their names, except hidden ones."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # it may not be read
        return
    yield from (path for path in entries if path.is_dir() and not path.name.startswith("."))
