"""Text on figures: names of any length and script, drawn literally."""

import functools
import unicodedata
from collections.abc import Sequence

import matplotlib
from matplotlib import font_manager
from matplotlib.text import Text

from tlkit._internal import user_warnings
from tlkit.plotting.figure import Figure

_LAST_RESORT = "Last Resort High-Efficiency"  # Matplotlib's boxes, one for each script
_MAX_NAMED = 10  # characters in a warning
_warned: set[str] = set()  # characters that were warned of: a report has many figures


def display_width(text: str) -> int:
    r"""Return how many columns a text takes; Chinese, Japanese and Korean characters take two.

    Examples:
        >>> display_width("cat"), display_width("\u732b")
        (3, 2)
    """
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(name: str, width: int) -> str:
    r"""Return a name on one line that takes at most `width` columns, by leaving out its middle.

    Examples:
        >>> shorten("a very long name of a class", 15), shorten("cat\n$1$", 15)
        ('a very...class', 'cat $1$')
    """
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")  # file names may not be UTF-8
    name = " ".join(name.split())
    if display_width(name) <= width:
        return name
    head, tail, room = "", "", width - 3
    for first, last in zip(name, reversed(name), strict=True):
        if display_width(head + tail + first) <= room:
            head += first
        if display_width(head + last + tail) > room:
            break
        tail = last + tail
    return f"{head.rstrip()}...{tail.lstrip()}"


def shorten_names(names: Sequence[str], width: int) -> list[str]:
    """Return names that take at most `width` columns; equal short names are numbered.

    Examples:
        >>> shorten_names(["one long name, a, of one", "one long name, b, of one", "cat"], 12)
        ['one...ne (1)', 'one...ne (2)', 'cat']
    """
    short = [shorten(name, width) for name in names]
    repeated = {name for name in short if short.count(name) > 1}
    return [
        f"{shorten(name, width - len(str(number)) - 3)} ({number})" if label in repeated else label
        for number, (name, label) in enumerate(zip(names, short, strict=True), start=1)
    ]


# Matplotlib draws a character that the font lacks as a box, with a warning at each drawing. It can
# fall back to other fonts, but only to those that a text names. So the lacking characters are
# collected from the whole figure. Fonts of the system are added until all characters are found,
# each time the font that has most of the remaining characters. Every text with such characters
# names these fonts.
def finish(figure: Figure) -> Figure:
    """Make a figure draw every text literally, with other fonts of the system where needed.

    Args:
        figure: The figure, whose texts are changed.

    Warns:
        UserWarning: The system has no font for some characters, which are drawn as boxes. Each
            character is warned of once.
    """
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    lacking: list[tuple[Text, frozenset[str]]] = []
    for text in texts:
        text.set_parse_math(False)
        if not text.get_text().isascii():
            known = _characters(tuple(text.get_fontfamily()))
            missing = frozenset(text.get_text()) - {"\n"} - known
            lacking += [(text, missing)] if missing else []
    if not lacking:
        return figure
    families, unknown = _find_fonts(frozenset[str]().union(*(missing for _, missing in lacking)))
    for text, _ in lacking:
        text.set_fontfamily([*text.get_fontfamily(), *families])
        text.set_fontweight("normal")  # few of these fonts have bold faces
    new = [character for character in unknown if character not in _warned]
    _warned.update(new)
    if new:
        user_warnings.warn(
            f"This system has no font for {''.join(new[:_MAX_NAMED])!r}"
            f"{' and others' * (len(new) > _MAX_NAMED)}, which figures show as boxes. "
            "Install one, such as Noto Sans CJK, and delete the fontlist files in "
            f"{matplotlib.get_cachedir()!r}."
        )
    return figure


@functools.lru_cache(maxsize=32)
def _characters(families: tuple[str, ...]) -> frozenset[str]:
    """Return the characters of the fonts that Matplotlib finds for these families."""
    found = [font_manager.findfont(font_manager.FontProperties(family=[name])) for name in families]
    return frozenset(map(chr, {code for file in found for code in _codes(str(file))}))


def _codes(file: str) -> set[int]:
    return set(font_manager.get_font(file).get_charmap())


def _unusualness(font: font_manager.FontEntry) -> tuple[bool, int]:
    """Return a sort key by which upright faces of normal weight come first."""
    weight = font_manager.weight_dict.get(str(font.weight), font.weight)
    return font.style != "normal", abs(int(weight) - 400)


@functools.lru_cache(maxsize=32)
def _find_fonts(missing: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return families of the system that have these characters, and the characters without one."""
    coverage: dict[str, frozenset[str]] = {}
    for font in sorted(font_manager.fontManager.ttflist, key=_unusualness):
        if font.name.startswith("Last Resort") or "Emoji" in font.name or font.name in coverage:
            continue  # emoji are bitmaps, which Matplotlib can't draw
        try:
            coverage[font.name] = missing.intersection(map(chr, _codes(str(font.fname))))
        except (OSError, RuntimeError):  # a damaged font, or one without a list of characters
            continue
    families, rest = list[str](), set(missing)
    while rest:
        best = max(sorted(coverage), key=lambda name: len(coverage[name] & rest), default="")
        if not coverage.get(best, frozenset()) & rest:
            break
        families.append(best)
        rest -= coverage[best]
    if rest and any(font.name == _LAST_RESORT for font in font_manager.fontManager.ttflist):
        families.append(_LAST_RESORT)  # if named, it draws boxes without a warning for each
    return tuple(families), tuple(sorted(rest))
