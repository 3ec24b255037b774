"""Format percentages, intervals, durations, sizes and lists as text."""

import re
from collections.abc import Sequence

# Control characters except tab and line break, and characters that change the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_MAX_SHOWN = 200  # characters of a value in a message
_MAX_ITEM = 400  # characters of one of several items
_MANY_IMAGES = 10_000  # one of them is 0.01 %


def percent(share: float, *, of: int) -> str:
    """Format a share as a percentage, with as many decimals as the number of images supports.

    One image in 10,000 is 0.01 %: on fewer images, a second decimal would be noise. A share that
    would be rounded to 0 or 100 % gets more decimals.

    Args:
        share: From 0 to 1.
        of: The number of images that the share was measured on.

    Examples:
        >>> percent(0.88509, of=322), percent(0.97534, of=10_000), percent(0.9997, of=5000)
        ('88.5 %', '97.53 %', '99.97 %')
    """
    return f"{_in_percent(share, of)} %"


def interval(bounds: tuple[float, float], *, of: int) -> str:
    """Format an interval of two shares as percentages.

    Args:
        bounds: The lower and the upper bound, each from 0 to 1.
        of: As for `percent`.

    Examples:
        >>> interval((0.8456, 0.9155), of=322)
        '84.6 to 91.5 %'
    """
    low, high = (_in_percent(bound, of) for bound in bounds)
    return f"{low} to {high} %"


def _in_percent(share: float, of: int) -> str:
    decimals = 1 if of < _MANY_IMAGES else 2
    while 0 < share < 1 and decimals < 4 and round(100 * share, decimals) in (0, 100):
        decimals += 1
    return f"{100 * share:.{decimals}f}"


def pixels(size: tuple[int, int]) -> str:
    """Format a height and a width in pixels.

    Examples:
        >>> pixels((160, 160)), pixels((120, 200))
        ('160 px', '120 x 200 px')
    """
    height, width = size
    return f"{height} px" if height == width else f"{height} x {width} px"


def duration(seconds: float) -> str:
    """Format a time in suitable units.

    Examples:
        >>> duration(3.21), duration(192), duration(7325)
        ('3.2 s', '3 min 12 s', '2 h 2 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def join_first(
    items: Sequence[object], *, limit: int = 5, separator: str = ", ", word: str = "and"
) -> str:
    """Return the first items as text, followed by the number of the other items.

    Args:
        items: The items.
        limit: The maximum number of items in the text.
        separator: The text between two items.
        word: The word before the last item: "or" for a choice.

    Examples:
        >>> join_first(["a", "b"]), join_first([1, 2, 3, 4], limit=2)
        ('a and b', '1, 2 and 2 more')
        >>> join_first(["a.png: empty", "b.png: no label"], separator="; ")
        'a.png: empty; and b.png: no label'
        >>> join_first(["a", "b", "c"], word="or")
        'a, b or c'
    """
    words = [shorten(str(item), limit=_MAX_ITEM) for item in items[:limit]]
    if len(items) > limit:
        words.append(f"{len(items) - limit:,} more")
    before_last = f" {word} " if separator == ", " else f"{separator}{word} "
    return before_last.join(filter(None, [separator.join(words[:-1]), *words[-1:]]))


def byte_size(count: float) -> str:
    """Format a number of bytes in a suitable unit.

    Examples:
        >>> byte_size(12), byte_size(400_000), byte_size(3.2e9)
        ('12 bytes', '400.0 kB', '3.2 GB')
    """
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    size, unit = next((each for each in units if count >= each[0]), (1, "bytes"))
    return f"{count / size:,.{1 if size > 1 else 0}f} {unit}"


def show(value: object) -> str:
    """Return a value's `repr` on one line, shortened for a message; it never raises an error.

    Examples:
        >>> show("a"), show(list(range(1000)))[-12:], len(show("a" * 1000))
        ("'a'", '7, 998, 999]', 200)
    """
    try:
        text = repr(value)
    except Exception:  # code of the user's
        return f"<{type(value).__name__}>"
    return shorten(" ".join(text.split()))


def shorten(text: str, *, limit: int = _MAX_SHOWN) -> str:
    """Return a text of at most `limit` characters: the beginning and the end of a longer one.

    Examples:
        >>> len(shorten("a" * 1000)), shorten("a")
        (200, 'a')
    """
    half = (limit - 5) // 2
    return text if len(text) <= limit else f"{text[:half]} ... {text[half + 5 - limit :]}"


def plural(count: int, noun: str) -> str:
    """Return a number and its noun: "one image", "12 images"."""
    return f"one {noun}" if count == 1 else f"{count:,} {noun}s"


def to_words(name: str) -> str:
    """Return a name of code as words: "fine_tune" as "fine tune"."""
    return name.replace("_", " ")


def escape_controls(text: str) -> str:
    r"""Return a text with escaped characters that could change a terminal's title or colours.

    A file's name may contain such characters. They are written as Python escapes them.

    Examples:
        >>> print(escape_controls("daisy\x1b[2J.jpg"))
        daisy\x1b[2J.jpg
    """
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def reason(error: BaseException) -> str:
    r"""Return the reason of an error on one line, to complete a sentence.

    Examples:
        >>> reason(ValueError("2 images are too few.\nTraceback")), reason(MemoryError())
        ('2 images are too few', 'there is not enough memory')
    """
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    lines = (getattr(error, "strerror", None) or str(error)).splitlines()
    return next(iter(lines), type(error).__name__).rstrip(".")
