"""List the images in the rows of a table, with their labels, groups and parts."""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit._internal.text import join_first, shorten, show
from tlkit.data import manifests, naming, part_names
from tlkit.data.image_files import relative_path
from tlkit.data.listings import Listing
from tlkit.data.reading import Label
from tlkit.errors import Argument, ConfigError, DataError

_WEB = "it is a web address: download the image, and write its path"
_LEADS_OUT = re.compile(r"^[/\\]|^.:|\.\.")  # may lead out of the folder


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table; see `tlkit.sources.from_manifest`."""

    path: str = "path"
    label: str = "label"
    separator: str | None = None
    labels: Sequence[str] = ()
    group: str | None = None
    split: str | None = None
    outside_paths: bool = False


def list_table(path: Path, columns: Columns, *, folder: Path | None = None) -> Listing:
    """Return the images that a table lists.

    Args:
        path: The table.
        columns: The names of its columns.
        folder: The folder that paths are relative to; by default the table's folder.

    Raises:
        ConfigError: The file or a column does not exist.
        DataError: The content of the table is invalid.
    """
    of_labels = columns.labels or [columns.label]
    wanted = [
        columns.path,
        *of_labels,
        *(each for each in (columns.group, columns.split) if each is not None),
    ]
    table = manifests.read_columns(path, wanted)
    root = path.parent if folder is None else folder
    groups = [str(group) for group in table[columns.group]] if columns.group is not None else []
    if "" in groups:
        raise DataError(
            f"Column {columns.group!r} of {str(path)!r} is empty in row {groups.index('') + 1}."
        )
    names = [str(each) for each in table[columns.path]]
    _check_some_exist(names, root, columns.path)
    if not columns.outside_paths:
        _refuse_outside(names, root, columns.path)
    rows = enumerate(names, start=1)
    labels, faults = _read_labels(table, columns)
    return Listing(
        fetch=lambda index: root / names[index],
        labels=labels,
        paths=[relative_path(root / each, root) if each else f"row {row}" for row, each in rows],
        groups=groups,
        parts=_read_parts(table, columns.split),
        faults=faults
        | {
            index: _WEB if each else f"column {columns.path!r} is empty"
            for index, each in enumerate(names)
            if not each or "://" in each
        },
        notices=[f"the split is that of column {columns.split!r}"] if columns.split else [],
    )


def _read_labels(
    table: Mapping[str, list[Any]], columns: Columns
) -> tuple[Sequence[Label], dict[int, str]]:
    """Return the label of each row, a tuple for multi-label, and the faults of other rows."""
    if columns.labels:
        return naming.from_label_columns({each: table[each] for each in columns.labels})
    name, cells = columns.label, table[columns.label]
    if columns.separator is not None:
        return naming.from_joined_labels(cells, separator=columns.separator, column=name), {}
    return naming.from_labels(cells, column=name), {}


def check_label_columns(
    label_column: str,
    label_separator: str | None,
    label_columns: Sequence[str],
    class_names: Sequence[str] | None,
) -> list[str]:
    """Return the columns of 0 and 1, after checking that labels are in columns of one kind only.

    Raises:
        ConfigError: Columns of two kinds are chosen, or the columns are not the classes.
    """
    if isinstance(label_columns, str) or len(set(label_columns)) < len(label_columns):
        raise ConfigError(
            Argument("label_columns"), f" must be different names, got {show(label_columns)}."
        )
    if label_separator == "":
        raise ConfigError(Argument("label_separator"), " must be a sign such as '|', got ''.")
    if not len(label_columns):
        return []
    if label_separator is not None or label_column != "label":
        other = "label_column" if label_separator is None else "label_separator"
        raise ConfigError(
            Argument("label_columns"), " must be given without ", Argument(other), "."
        )
    found = naming.check(label_columns)
    if len(found) < 2 or (class_names is not None and set(found) != set(naming.check(class_names))):
        known = "at least 2 classes" if class_names is None else f"the classes {list(class_names)}"
        raise ConfigError(
            Argument("label_columns"), f" must be the columns of {known}, got {list(found)}."
        )
    return list(label_columns)


def _read_parts(table: Mapping[str, list[Any]], column: str | None) -> list[str]:
    """Return the part in each row: "train", "validation" or "test".

    Raises:
        DataError: A row has no part.
    """
    if column is None:
        return []
    parts = [part_names.find_part(str(value)) for value in table[column]]
    wrong = [row for row, part in enumerate(parts) if part is None]
    if wrong:
        shown = join_first([f"row {row + 1}: {str(table[column][row])!r}" for row in wrong])
        raise DataError(
            f"Column {column!r} must hold train, val (or valid, validation) or test in each row, "
            f"got {shown}."
        )
    return [str(part) for part in parts]


def _check_some_exist(names: Sequence[str], root: Path, column: str) -> None:
    """Raise an error if no file of a table exists; its message explains how to write the paths."""
    given = [name for name in names if name and not naming.find_fault(name)]
    if not given or any(_exists(root / name) for name in given):
        return
    raise DataError(
        f"None of the {len(given):,} files exists that column {column!r} names, such as "
        f"{shorten(given[0])}:"
        f" No such file in {str(root)!r}. {_explain_missing(given[0], root)}"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its name is too long
        return False


def _refuse_outside(names: Sequence[str], root: Path, column: str) -> None:
    """Raise an error if a table, which may be someone else's, lists files outside the folder."""
    top = Path(os.path.normpath(root.absolute()))  # links may lead elsewhere: they are the user's
    outside = [
        f"{name!r} in row {row}"
        for row, name in enumerate(names, start=1)
        if _LEADS_OUT.search(name) and not Path(os.path.normpath(top / name)).is_relative_to(top)
    ]
    if outside:
        raise DataError(
            f"Column {column!r} must name files in the folder {str(root)!r}, got "
            f"{join_first(outside, limit=3)}. If these are your files, accept paths that lead out "
            "of the folder with ",
            Argument("outside_paths", True),
            ".",
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
        found = relative_path(same[0], root)
        return f"There is {found!r}: write paths with their folder and ending, as that one."
    return "Paths must be relative to the folder of the table, or, in Python, to `folder`."
