"""Derive class names from labels and folders: normalized, sorted, and without missing labels."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tlkit._internal.text import join_first, show
from tlkit.data import part_names
from tlkit.errors import Argument, DataError

_LIST = re.compile(r"\[\s*(['\"].*|.*,.*|[0-9.\s]*)\]|[({].*,.*[)}]")
_JOINERS = "\u200c\u200d"  # invisible, but they change the shapes of neighbouring letters and emoji
_NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+([.]0+)?")
_MISSING = ("", "nan", "<na>", "null")
_ABSENT_OR_PRESENT = {
    **dict.fromkeys(("0", "0.0", "false"), False),
    **dict.fromkeys(("1", "1.0", "true"), True),
}


def normalize(name: str) -> str:
    r"""Return a name in one spelling for all names that look the same.

    Names that look the same can differ: an accent may be a separate character or part of its
    letter, spaces may be doubled, at the ends or of another kind, and characters may be invisible.

    Examples:
        >>> normalize("cafe\u0301 ") == "caf\u00e9"
        True
    """
    visible = "".join(
        each for each in name if unicodedata.category(each) != "Cf" or each in _JOINERS
    )
    return " ".join(unicodedata.normalize("NFC", visible).split())


def find_fault(name: str) -> str:
    """Return why a name can't be written to a file or a figure; "" if it can."""
    categories = {unicodedata.category(each) for each in name}
    if "Cs" in categories:
        return "its name is not UTF-8"
    if categories & {"Cc", "Zl", "Zp"}:
        return "its name has a line break or another control character"
    return ""


def escape(name: str) -> str:
    """Return a name with escapes for characters that can't be written."""
    return "".join(
        each.encode("unicode_escape").decode() if find_fault(each) else each for each in name
    )


def check(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names in normalized spelling, after checking them.

    Raises:
        DataError: A name is empty or can't be written, or two names look the same.
    """
    given = []
    for name in names:
        if getattr(name, "ndim", 0) or isinstance(name, list | tuple | dict | set):
            raise DataError(f"A class must have a name, got {show(name)}.")
        given.append(str(name))
    for name in given:
        fault = find_fault(name.strip()) if normalize(name) else "it is empty"
        if fault:
            raise DataError(
                f"A class must have a name that can be written, got {show(name)}: {fault}."
            )
    spelled = [normalize(name) for name in given]
    twice = [name for name, count in Counter(spelled).items() if count > 1]
    if twice:
        raise DataError(
            f"Every class must have a name of its own, got {join_first([*map(repr, twice)])} more "
            "than once."
        )
    return tuple(spelled)


def sort(names: Iterable[str]) -> tuple[str, ...]:
    """Return the different names, sorted: by value if all are numbers, otherwise as text.

    Examples:
        >>> sort(["10", "9", "9"]), sort(["b10", "b9"])
        (('9', '10'), ('b10', 'b9'))
    """
    found = sorted(set(names))
    numeric = all(_NUMBER.fullmatch(name) for name in found)
    return tuple(sorted(found, key=float) if numeric else found)


def from_labels(labels: Sequence[Any], *, column: str) -> list[str | None]:
    """Return the class name of each label; None for a missing label.

    Labels count as missing if they are None, NaN, empty text, or -1 while no other number is
    negative, as in the test images of many public data sets. Whole numbers with a decimal point are
    named without it, since pandas writes them so in a column with missing labels.

    Args:
        labels: Text or numbers.
        column: The column that they are from, for messages.

    Raises:
        DataError: An image has several labels, or the labels are names of parts of a data set.
    """
    names = [_name(label, column) for label in labels]
    present = {name for name in names if name is not None}
    if all(map(_WHOLE.fullmatch, present)):
        names = [None if name is None else name.partition(".")[0] for name in names]
    negative = {name for name in names if name and name[0] == "-" and _NUMBER.fullmatch(name)}
    if negative == {"-1"}:
        names = [None if name == "-1" else name for name in names]
    present = {name for name in names if name is not None}
    several = _find_several(present)
    if several:
        raise _several_labels(column, repr(several))
    if part_names.have_parts(present) and all(map(part_names.is_part, present)):
        raise DataError(
            f"Column {column!r} must hold the classes of images, got the parts of a data set: "
            f"{list(sort(present))}. Choose the column of classes."
        )
    return names


def _name(label: Any, column: str) -> str | None:
    if hasattr(label, "item") and getattr(label, "ndim", 1) == 0:
        label = label.item()  # a number of NumPy
    if isinstance(label, bytes):
        label = label.decode("utf-8", "surrogateescape")
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return None
    refuse_lists([label], column=column)
    text = str(label).strip()
    text = text if find_fault(text) else normalize(text)
    return None if text.lower() in _MISSING else text


def refuse_lists(labels: Sequence[Any], *, column: str) -> None:
    """Raise an error for labels that are lists.

    Raises:
        DataError: A label is a list.
    """
    for label in labels:
        if isinstance(label, list | tuple | set | dict) or hasattr(label, "__array__"):
            raise _several_labels(column, str(label)[:60])


def from_lists(
    labels: Sequence[Any], known: Sequence[str] | None, *, column: str
) -> list[tuple[str, ...]]:
    """Return the class names of each image, from lists of names or lists of indices.

    Args:
        labels: A list for each image; None counts as an empty list.
        known: The class names that indices refer to; None if the lists hold names.
        column: The column that they are from, for messages.

    Raises:
        DataError: A label is not a list, or an index has no name.
    """
    spelled = () if known is None else check(known)
    found = []
    for label in labels:
        if not (label is None or isinstance(label, list | tuple) or hasattr(label, "__array__")):
            raise DataError(
                f"Column {column!r} must hold a list of labels for each image, got {show(label)}."
            )
        given = list(() if label is None else label)
        if known is not None and not all(0 <= each < len(spelled) for each in given):
            raise DataError(
                f"Column {column!r} must hold indices of its {len(spelled)} classes, got {given}."
            )
        names = [str(each) if known is None else spelled[each] for each in given]
        found.append(tuple(map(normalize, names)))
    return found


def _several_labels(column: str, label: str) -> DataError:
    return DataError(
        f"Column {column!r} must have one label for each image, got several, such as {label}. "
        "Choose one label for each image; or for images with several classes, set ",
        Argument("label_separator"),
        " of a table, or ",
        Argument("multi_label"),
        " of another data set.",
    )


# Tables store several labels of an image as text: a list as Python or JSON writes it, or labels
# joined by a separator. But a comma may also be part of a name ("castle, ruined"). So joined labels
# are recognized by their pieces: all of these must be labels of other images. One piece is enough
# if the separator is "|", or a space between numbers, since neither is part of a name.
def _find_several(names: set[str]) -> str:
    """Return a name that lists several labels; "" if no name does."""
    for sign in "|;, ":
        pieces = {
            name: {piece.strip() for piece in name.split(sign)}
            for name in names
            if sign in name and (sign != " " or name.replace(" ", "").isdecimal())
        }
        counts = Counter(piece for own in pieces.values() for piece in own)
        for name, own in sorted(pieces.items()):
            shared = sign in "| " and any(counts[piece] > 1 or piece in names for piece in own)
            if len(own) > 1 and (shared or own <= names):
                return name
    return next((name for name in sorted(names) if _LIST.fullmatch(name)), "")


def from_joined_labels(
    labels: Sequence[Any], *, separator: str, column: str
) -> list[tuple[str, ...]]:
    """Return the class names of each image, of which there may be none, one or several.

    Args:
        labels: Text with a separator between class names, or lists of names; a missing label or
            empty text means an image without a class.
        separator: The separator.
        column: The column that they are from, for messages.

    Raises:
        DataError: Labels are joined by another separator.
    """
    found = [tuple(dict.fromkeys(_pieces(label, separator))) for label in labels]
    several = _find_joined({name for names in found for name in names})
    if several:
        raise DataError(
            f"Column {column!r} must have {separator!r} between the labels of an image, got "
            f"{several!r}. Name the sign that it has with ",
            Argument("label_separator"),
            ".",
        )
    return found


def _find_joined(names: set[str]) -> str:
    """Return a name whose pieces are all labels of other images too, or ""."""
    for sign in "|;,":
        pieces = {name: {*_pieces(name, sign)} for name in names if sign in name}
        counts = Counter(piece for own in pieces.values() for piece in own)
        for name, own in sorted(pieces.items()):
            if len(own) > 1 and all(counts[each] > 1 or each in names for each in own):
                return name
    return ""


def _pieces(label: Any, separator: str) -> list[str]:
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return []
    if isinstance(label, list | tuple | set) or getattr(label, "ndim", 0) == 1:
        pieces = [str(each) for each in label]
    else:
        pieces = str(label).split(separator)
    names = [normalize(each) if not find_fault(each.strip()) else each.strip() for each in pieces]
    return [name for name in names if name.lower() not in _MISSING]


def from_label_columns(
    columns: Mapping[str, Sequence[Any]],
) -> tuple[list[tuple[str, ...] | None], dict[int, str]]:
    """Return the class names of each image, and the faults of images with invalid labels.

    Args:
        columns: For each class, the cells of its column: 0 or 1 for each image.

    Returns:
        The class names of each image, None for invalid labels; and the faults by image index.
    """
    known = {
        name: [_ABSENT_OR_PRESENT.get(str(each).lower()) for each in values]
        for name, values in columns.items()
    }
    rows = list(zip(*known.values(), strict=True))
    faults = {
        row: f"its label {name!r} is {str(columns[name][row]) or 'empty'}, not 0 or 1"
        for row, values in enumerate(rows)
        for name, value in zip(known, values, strict=True)
        if value is None
    }
    names = [
        None
        if None in values
        else tuple(name for name, has in zip(known, values, strict=True) if has)
        for values in rows
    ]
    return names, faults
