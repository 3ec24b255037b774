"""A document as Markdown, with its pictures as files next to it."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from tlkit.reports.documents import (
    Block,
    Bullets,
    Code,
    Document,
    KeyFigures,
    Paragraph,
    Picture,
    Section,
    Table,
    plain,
    plain_lines,
)

_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|(?<!\S)#")  # not in a_b, a#b
_AT_START = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+])(?=\s|[-\s]*$)")  # 1. but not 1.5


def written(document: Document) -> str:
    """Return the document as Markdown, as CommonMark and GitHub read it.

    Args:
        document: What to write; a picture is linked as `<name>.png`.

    Examples:
        >>> print(written(Document(title="a < b", sections=(Section(title="Data"),))))
        # a &lt; b
        <BLANKLINE>
        ## Data
        <BLANKLINE>
    """
    parts = [f"# {escaped(document.title)}"]
    for section in document.sections:
        parts += _section(section, level=2)
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Return text so that Markdown shows it as it is, on one line.

    Examples:
        >>> escaped("1. *a*_b <script> mobilenet_v2"), escaped("1.5 % - 2 %")
        ('1\\. \\*a\\*\\_b &lt;script&gt; mobilenet_v2', '1.5 % - 2 %')
    """
    return _AT_START.sub(
        lambda found: f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}", _inline(text)
    )


def _inline(text: str) -> str:
    """Return text for the middle of a line, where no list or number begins."""
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(lambda found: f"\\{found[0]}", safe)


def _section(section: Section, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} {escaped(section.title)}"
    for block in section.blocks:
        yield _block(block)
    for part in section.sections:
        yield from _section(part, level=level + 1)


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return escaped(block.text)
        case Bullets():
            return "\n".join(f"- {escaped(item)}" for item in block.items)
        case KeyFigures():
            return "\n".join(
                f"- {escaped(name)} **{escaped(figure)}**" for name, figure in block.figures.items()
            )
        case Table():
            return _table(block)
        case Picture():
            caption = escaped(block.caption)
            return f"![{caption}]({quote(block.name)}.png)\n\n*{caption}*"
        case Code():
            return _code(block)


def _table(table: Table) -> str:
    numbers = len(table.columns) - table.words
    lines = [
        [_inline(cell) for cell in table.columns],
        ["---"] * table.words + ["---:"] * numbers,
        *([_inline(cell) for cell in row] for row in table.rows),
    ]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"*{escaped(table.caption)}*\n\n{rows}"


def _code(code: Code) -> str:
    lines = plain_lines(code.text)
    longest = max((len(run) for run in re.findall(r"`+", "\n".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{code.language}", *lines, fence])
