"""Recognize folder names that are not classes: parts of a data set, and things beside images."""

import re
from collections.abc import Iterable

_PART = re.compile(
    r"(train|trn|training|test|tst|testing|val|valid|validation|dev|eval|evaluation|holdout"
    r"|unlabell?ed|unsupervised|pred|prediction|inference|query|gallery|extra)(set|data|images|imgs)?"
)
_ASIDE = re.compile(
    r"(jpeg)?images?|imgs?|pictures?|labels?|masks?|annots?|annotations?|segmentations?|gt"
    r"|groundtruth|ground|truth|bbox|bboxes|inputs?|targets?|xml|json|csv|meta|metadata"
)
_FILLER = re.compile(
    r"set|sets|data|dataset|split|splits|seg|all|raw|folder|dir|files|samples|jpe?g|png|original"
    r"|resized|augmented|[abxy]"
)
_ROLES = {
    "train": re.compile(r"(train|trn|training)(set|data|images|imgs)?"),
    "validation": re.compile(r"(val|valid|validation|dev)(set|data|images|imgs)?"),
    "test": re.compile(r"(test|tst|testing|holdout)(set|data|images|imgs)?"),
}
_IMAGES = re.compile(r"(jpeg)?images?|imgs?|pictures?")
_FOLD = re.compile(r"(fold|split|part|partition|batch|set|cv)[ _-]?[0-9]+", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def have_parts(names: Iterable[str]) -> bool:
    """Return whether two of these names denote different parts of a data set, as train and test.

    A single such name may be a class, such as train beside bus, or test beside control.
    """
    words = {word for name in names if is_part(name) for word in _words(name)}
    return len({word for word in words if _PART.fullmatch(word)}) > 1


def is_part(name: str) -> bool:
    """Return whether a name denotes a part of a data set, such as "train" or "seg_test".

    Examples:
        >>> [is_part(name) for name in ("train", "valImages2", "seg_test", "test tube", "labels")]
        [True, True, True, False, False]
    """
    words = _words(name)
    return any(map(_PART.fullmatch, words)) and all(
        _PART.fullmatch(word) or _ASIDE.fullmatch(word) or _FILLER.fullmatch(word) for word in words
    )


def find_part(name: str) -> str | None:
    """Return which part a name denotes: "train", "validation", "test", or None for other names.

    Examples:
        >>> [find_part(name) for name in ("Training", "seg_val", "test_images", "eval", "trainer")]
        ['train', 'validation', 'test', None, None]
    """
    words = [
        word for word in _words(name) if not (_FILLER.fullmatch(word) or _IMAGES.fullmatch(word))
    ]
    found = {part for word in words for part, names in _ROLES.items() if names.fullmatch(word)}
    known = all(any(names.fullmatch(word) for names in _ROLES.values()) for word in words)
    return found.pop() if known and len(found) == 1 else None


def is_aside(name: str) -> bool:
    """Return whether a name denotes something beside or above class folders, such as "masks"."""
    words = _words(name)
    plain = not any(each.isdigit() for each in name)  # "label 1" may be a class
    return (plain and any(map(_ASIDE.fullmatch, words))) and all(
        _ASIDE.fullmatch(word) or _FILLER.fullmatch(word) for word in words
    )


def is_fold(name: str) -> bool:
    """Return whether a name is numbered like a part of a data set, such as "fold_2"."""
    return is_part(name) or bool(_FOLD.fullmatch(name))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)] if name.isascii() else []
