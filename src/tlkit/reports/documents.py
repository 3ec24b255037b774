"""A document as values: sections of paragraphs, lists, tables and pictures; all text is plain."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_REDIRECTING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # text runs backwards


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Sentences.

    Attributes:
        text: The words.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list.

    Attributes:
        items: Its points.
    """

    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class KeyFigures:
    """The few numbers that a reader looks for first.

    Attributes:
        figures: The number by what it is of.
    """

    figures: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of words or numbers.

    Attributes:
        caption: What it shows.
        columns: The head of each column.
        rows: The cells; the first of a row names it.
        words: How many columns from the left hold words; the others hold numbers, and so end at
            the right.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure, by name.

    Attributes:
        name: The figure's; where it is a file, without `.png`.
        caption: What it shows.
    """

    name: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Code:
    """Lines to be typed.

    Attributes:
        text: The lines.
        language: What they are in.
    """

    text: str
    language: str


Block = Paragraph | Bullets | KeyFigures | Table | Picture | Code


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a document.

    Attributes:
        title: Its heading.
        blocks: What it says.
        sections: Its parts.
    """

    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple["Section", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A title and what follows.

    Attributes:
        title: The heading of it all.
        sections: Its parts, in order.
    """

    title: str
    sections: tuple[Section, ...]


def plain(text: str) -> str:
    r"""Return text as one line that can be shown and written, whatever a file name put into it.

    Runs of white space become one space. What is not text, such as control characters, the bytes
    of a name in no encoding, and marks that turn the direction of what follows, becomes the
    replacement character, U+FFFD.

    Examples:
        >>> plain("a\nclass\twith \x1b[31m").encode("ascii", "replace")
        b'a class with ?[31m'
    """
    one_line = " ".join(text.split())
    return "".join("\ufffd" if _is_harmful(letter) else letter for letter in one_line)


def plain_lines(text: str) -> list[str]:
    """Return the lines of code, each as `plain` but for its white space."""
    return [
        "".join("\ufffd" if _is_harmful(letter) else letter for letter in line.expandtabs(4))
        for line in text.splitlines()
    ]


def _is_harmful(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in _REDIRECTING
