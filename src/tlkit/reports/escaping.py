"""Text from users, such as file and class names, made safe for Markdown and for text files."""

import re
import unicodedata

from markupsafe import Markup

_BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # reverse text
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|(?<!\S)#")  # not in a_b, a#b
_NUMBERED_ITEM = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")  # 1. but not 1.5
_ITEM_OR_RULE = re.compile(r"^([-+](?=\s|[-\s]*$)|=(?==*$))")  # - or +, or a line of - or =


def plain(text: object) -> str:
    r"""Return text as one line that can be shown and written to a file.

    Each run of white space becomes one space. Control characters, surrogates (bytes of a file name
    that are not UTF-8) and characters that change the direction of text become U+FFFD.

    Examples:
        >>> plain("a\nclass\twith \x1b[31m").encode("ascii", "replace")
        b'a class with ?[31m'
    """
    return _replace_harmful(" ".join(str(text).split()))


def escape(value: object) -> Markup:
    r"""Return text escaped for Markdown (CommonMark and GitHub), which shows it literally.

    The result is one line. A `Markup`, which is Markdown already, stays the same.

    Examples:
        >>> print(escape("1. *a*_b <script> mobilenet_v2"), escape("1.5 % - 2 %"))
        1\. \*a\*\_b &lt;script&gt; mobilenet_v2 1.5 % - 2 %
    """
    if isinstance(value, Markup):
        return value
    text = plain(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(r"\\\g<0>", text)
    return Markup(_ITEM_OR_RULE.sub(r"\\\1", _NUMBERED_ITEM.sub(r"\1\\\2", text)))  # noqa: S704


def fence(code: str, language: str) -> Markup:
    """Return lines of code as a code block of Markdown that the lines can't end.

    Args:
        code: The lines.
        language: The language for highlighting, such as "python".
    """
    lines = [_replace_harmful(line.expandtabs(4)) for line in code.splitlines()]
    longest = max((len(run) for run in re.findall(r"`+", "\n".join(lines))), default=0)
    marks = "`" * max(3, longest + 1)
    return Markup("\n".join([f"{marks}{language}", *lines, marks]))  # noqa: S704


def _replace_harmful(text: str) -> str:
    return "".join("\ufffd" if _is_harmful(letter) else letter for letter in text)


def _is_harmful(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in _BIDIRECTIONAL
