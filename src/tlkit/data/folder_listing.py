"""List the images of a folder with a subfolder for each class, or a split of such folders."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tlkit._internal.text import plural
from tlkit.data import naming, part_names
from tlkit.data.image_dataset import Problem
from tlkit.data.image_files import OtherFiles, divide, find_files, is_image, relative_path
from tlkit.data.listings import PARTS, Listing, join
from tlkit.data.split_folders import SplitChoice, SplitFolders, find_split, subfolders
from tlkit.errors import Argument, ConfigError, DataError

_MAX_DEPTH = 2  # levels of folders that are searched for classes, to suggest a folder in a message


def list_folder(root: Path, *, split: SplitChoice = "auto", any_classes: bool = False) -> Listing:
    """Return the images of a folder.

    Args:
        root: The folder.
        split: As for `tlkit.sources.from_folder`.
        any_classes: Whether a folder of one class is accepted, because the class names are known.

    Raises:
        ConfigError: The folder does not exist, or has no subfolder for each class.
        DataError: The name of a folder can't be written.
    """
    classes, found = _find_classes(root, split, any_classes=any_classes)
    if found is None:
        return _list_classes(root, classes, root)
    whole = join(
        [
            replace(_list_part(root, found.parts[part], part), parts=())
            if split == "pool"
            else _list_part(root, found.parts[part], part)
            for part in PARTS
            if part in found.parts
        ]
    )
    return replace(whole, notices=[*found.notices, *whole.notices])


def list_by_class(root: Path, *, split: SplitChoice = "auto") -> Iterator[Listing]:
    """Yield the images of each class of each part, so that memory holds the paths of one class.

    Notices of the whole folder are in the first listing and the last, which has no images.

    Args:
        root: The folder.
        split: As for `list_folder`.

    Raises:
        ConfigError: As for `list_folder`.
        DataError: The name of a folder can't be written.
    """
    classes, found = _find_classes(root, split)
    if found is None:
        places = [("", root, classes)]
    else:
        places = [(part, each, _check_folder(each)) for part, each in found.parts.items()]
    notices, others = [] if found is None else found.notices, OtherFiles(root=root)
    for part, folder, inside in places:
        yield replace(_list_classes(folder, [], root), notices=notices)
        notices = []
        for each in inside:
            listing = _list_classes(folder, [each], root, strays=False, others=others)
            if part in ("", "train"):
                yield listing
            else:  # it may lack a class
                yield replace(listing, problems=[])
    nothing = _list_classes(root, [], root, strays=False)
    yield replace(nothing, notices=list(filter(None, [others.describe()])))


def list_parts(root: Path, *, split: SplitChoice = "auto") -> tuple[tuple[str, str], ...]:
    """Return how the paths in each part of a folder begin, and the part; empty without parts.

    Args:
        root: The folder.
        split: As for `list_folder`.

    Raises:
        ConfigError: As for `list_folder`.
        DataError: The name of a folder can't be written.
    """
    found = find_split(root, _check_folder(root), split)
    if found is None or split == "pool":
        return ()
    parts = found.parts.items()
    return tuple((f"{relative_path(folder, root)}/", part) for part, folder in parts)


def _find_classes(
    root: Path, split: SplitChoice, *, any_classes: bool = False
) -> tuple[list[Path], SplitFolders | None]:
    """Return the subfolders of a folder, and its own split if it has one."""
    classes = _check_folder(root)
    found = find_split(root, classes, split)
    if found is None:
        if split != "random":
            _refuse_parts(root, classes)
        if not any_classes:
            _refuse_single(root, classes)
    return classes, found


def _list_part(root: Path, folder: Path, part: str) -> Listing:
    """Return the images of a part; a validation or test part may lack a class."""
    listing = _list_classes(folder, _check_folder(folder), root)
    problems = [each for each in listing.problems if part == "train" or each.path[-1:] != "/"]
    return replace(listing, parts=[part] * len(listing), problems=problems)


def _list_classes(
    folder: Path,
    classes: Sequence[Path],
    root: Path,
    *,
    strays: bool = True,
    others: OtherFiles | None = None,
) -> Listing:
    """Return the images in class folders, with paths relative to a root.

    Args:
        folder: The folder of the class folders.
        classes: The class folders.
        root: The folder that paths are relative to.
        strays: Whether images outside the class folders are listed as problems.
        others: Counts files that are not images, in place of a notice.
    """
    passed_over = OtherFiles(root=root) if others is None else others
    files: list[Path] = []
    labels: list[str | None] = []
    problems = [
        Problem(
            path=naming.escape(relative_path(path, root)), reason="not in the folder of a class"
        )
        for path in (sorted(folder.iterdir()) if strays else ())
        if path.is_file() and not path.name.startswith(".") and is_image(path)
    ]
    for each in classes:
        found, rest = divide(find_files(each))
        files += found
        passed_over.add(rest)
        labels += [naming.normalize(each.name)] * len(found)
        if not found:
            reason = f"contains no image, but {plural(len(rest), 'other file')}"
            problems.append(
                Problem(
                    path=f"{relative_path(each, root)}/",
                    reason=reason if rest else "contains no image",
                )
            )
    return Listing(
        fetch=files.__getitem__,
        labels=labels,
        paths=[relative_path(file, root) for file in files],
        problems=problems,
        notices=list(filter(None, [passed_over.describe()])) if others is None else [],
    )


def _refuse_single(root: Path, classes: Sequence[Path]) -> None:
    """Raise an error if the only subfolder contains the class folders."""
    if len(classes) != 1:
        return
    has_split = _has_split(classes[0])
    inner = classes[0] if has_split else _find_inner(classes)
    if inner is not None:
        raise ConfigError(
            Argument("folder"),
            f" must have a folder for each class, got {str(root)!r} with the folder "
            f"{classes[0].name!r} only. The folders of the classes are in {str(inner)!r}: use "
            "that folder.",
        )


def _has_split(folder: Path) -> bool:
    found = find_split(folder, list(subfolders(folder)), "auto")
    return found is not None and len(found.parts) > 1


def _check_folder(root: Path) -> list[Path]:
    """Return the subfolders of a folder, after checking that they exist and have usable names."""
    if not root.is_dir():
        raise ConfigError(
            Argument("folder"), f" must be a folder, got {str(root)!r}: no such folder."
        )
    classes = list(subfolders(root))
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
            Argument("folder"),
            f" must have a folder for each class, got {str(root)!r} with no folder and "
            f"{count:,} images. Move each image into a folder named as its class, or give a .csv "
            "table of paths and labels.",
        )
    return classes


def _refuse_parts(root: Path, classes: Sequence[Path]) -> None:
    """Raise an error if folders are parts of a data set, but not a split that can be used."""
    parts = _find_parts(classes)
    if parts:
        inner = _find_inner(classes)
        raise ConfigError(
            Argument("folder"),
            f" must have a folder for each class, got {str(root)!r} with the parts {parts}. "
            "Use each by itself"
            + (
                ". No folder in them has a folder for each class: give a .csv table of paths and "
                "labels instead."
                if inner is None
                else f", such as {str(inner)!r}."
            ),
            " If they are classes, say so with ",
            Argument("split", "random"),
            ".",
        )


# Folders are parts of a data set, not classes, in three cases. Two have names of different parts
# (train and test). Or all have names of parts or of things beside images (images, labels, masks).
# Or some are named as parts or numbered, and their subfolders are the classes: they have the names
# of other folders beside them, or the same names in each folder. A single "train" may be a class,
# as beside "bus", and so may numbers.
def _find_parts(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders that are parts of a data set; empty if these are classes."""
    names = [folder.name for folder in folders]
    roles = [name for name in names if part_names.is_part(name) or part_names.is_aside(name)]
    if part_names.have_parts(names) or (len(roles) == len(names) and not _may_be_classes(names)):
        return roles
    within = {folder.name: {each.name for each in subfolders(folder)} for folder in folders}
    nested = [name for name in roles if within[name] & set(names)]
    folds = [name for name in names if part_names.is_fold(name)]
    common = set.intersection(*within.values())
    if len(names) > 1 and len(folds) == len(names) and len(common) > 1:
        return folds
    return nested


def _may_be_classes(names: Sequence[str]) -> bool:
    """Return whether the names are the same word with numbers, such as "test 1" and "test 2"."""
    return len(names) > 1 and len({name.rstrip("0123456789 _-") for name in names}) == 1


def _find_inner(folders: Sequence[Path]) -> Path | None:
    """Return an inner folder with a subfolder for each class; folders named "train" come first."""
    level = sorted(folders, key=lambda folder: "train" not in folder.name.lower())
    for _ in range(_MAX_DEPTH):
        for folder in level:
            within = list(subfolders(folder))
            if len(within) > 1 and not _find_parts(within):
                return folder
        level = [each for folder in level for each in subfolders(folder)]
    return None
