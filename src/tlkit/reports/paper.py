r"""The report as Pandoc's Markdown, from which Pandoc writes LaTeX, PDF or a Word file.

It differs from the report's Markdown in four ways: its sections are in the order of a paper, a
caption belongs to its picture or table, citations are keys of `references.bib`, and the title is
metadata.
"""

import datetime
import json
import re
from collections.abc import Iterator, Sequence

from tlkit.reports.bibtex import Reference

COMMAND = "pandoc paper.md --citeproc -s -o paper.pdf"
"""The command that writes the report as a PDF in a run's folder; .tex and .docx work too."""

_PICTURE = re.compile(r"!\[.*\]\(\S+\.png\)$")
_WIDTH = "{width=60%}"  # of the text: figures are drawn for a phone, and as tall as a page at 100 %
_CAPTION = re.compile(r"\*(?!\*)(.+)\*$")
_CITATION = re.compile(r"(?<!\\)\[(\d+)\](?!\()")
_CODE = re.compile(r"((?<!\\)`[^`]+`)")
_FENCE = re.compile(r"`{3,}")
_RULE = re.compile(r"\| :?-+:? \|")
_EXTENSIONS = re.compile(r"""(?<!\\)(["'@^]|--|\.\.\.)""")  # special in Pandoc, not in CommonMark
_HEADER = r"\usepackage{float}\floatplacement{figure}{H}"  # moved ones push tables off a page
_FIRST = ("Abstract", "Related work", "Data", "Preprocessing", "Model", "Training", "Results")
"""The sections that a paper begins with, in its order; a report begins with its results."""

_LAST = ("How to use", "How to reproduce", "References")
_REFERENCES = ("# References", "", "::: {#refs}", ":::", "")


def to_pandoc(
    markdown: str,
    references: Sequence[Reference],
    *,
    authors: Sequence[str] = (),
    date: str | None = None,
) -> str:
    """Return the Markdown of a report in the form that Pandoc reads.

    Args:
        markdown: The report.
        references: The publications that it cites, in the order of their numbers.
        authors: The names of the authors, as Markdown.
        date: The date of the paper; by default today's.
    """
    title, *lines = markdown.split("\n")
    ordered = [line for section in _arrange(lines) for line in section]
    body = "\n".join(_convert(ordered, references)).strip("\n")
    day = date or datetime.date.today().isoformat()
    head = _describe(title.removeprefix("# "), authors, day)
    return f"{head}\n\n{body}\n"


def _describe(title: str, authors: Sequence[str], date: str) -> str:
    """Return the metadata block of a Pandoc file: title, authors and settings."""
    values = {
        "title": _escape(title),
        **({"author": [_escape(each) for each in authors]} if authors else {}),
        "date": date,
        "lang": "en",
        "bibliography": "references.bib",
        "link-citations": True,
        "geometry": "margin=2.5cm",
        "header-includes": _HEADER,
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _arrange(lines: Sequence[str]) -> list[list[str]]:
    """Return the sections of a report in the order of a paper; others come before the last ones.

    The abstract loses its list of numbers, which its sentences state.
    """
    sections: list[list[str]] = [[]]  # the first is what precedes all headings
    for line, is_code in _mark_code(lines):
        if line.startswith("## ") and not is_code:
            sections.append([])
        sections[-1].append(line)
    before, *sections = sections
    places = {name: at - len(_FIRST) for at, name in enumerate(_FIRST)}
    places |= {name: 1 + at for at, name in enumerate(_LAST)}
    sections.sort(key=lambda each: places.get(each[0].removeprefix("## "), 0))
    if sections and sections[0][0] == "## Abstract":
        sections[0] = [line for line in sections[0] if not line.startswith("- ")]
    return [before, *sections]


def _mark_code(lines: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it belongs to a block of code."""
    fence = ""
    for line in lines:
        mark = _FENCE.match(line)
        yield line, bool(fence or mark)
        if fence or mark:
            fence = "" if line == fence else fence or (mark[0] if mark else "")


def _convert(lines: Sequence[str], references: Sequence[Reference]) -> Iterator[str]:
    after_picture = False
    for line, is_code in _mark_code(lines):
        if is_code:
            yield line
            continue
        if line == "## References":
            yield from _REFERENCES
            return
        caption = _CAPTION.match(line)
        if caption and not after_picture:
            yield f": {_escape(caption[1])}"
        is_picture = bool(_PICTURE.match(line))
        if not caption:
            yield _convert_line(line, references) + (_WIDTH if is_picture else "")
        after_picture = is_picture or (after_picture and not line)


def _convert_line(line: str, references: Sequence[Reference]) -> str:
    if line.startswith("##"):
        line = line[1:]
    if _RULE.match(line):
        return line
    return _CITATION.sub(lambda found: f"[@{references[int(found[1]) - 1].key}]", _escape(line))


def _escape(text: str) -> str:
    """Return text with the characters escaped that only Pandoc treats specially, except in code."""
    parts = _CODE.split(text)  # every second part is code, which is not escaped
    parts[::2] = [_EXTENSIONS.sub(r"\\\1", part) for part in parts[::2]]
    return "".join(parts)
