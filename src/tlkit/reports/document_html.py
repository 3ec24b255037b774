"""A document as one HTML page that needs nothing else: no network, no script, no other file."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from types import MappingProxyType

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

_Drawn = tuple[bytes, bytes | None]  # for a light and for a dark page
_NONE: Mapping[str, bytes] = MappingProxyType({})
_SHRUNK = 0.8  # of its pixels: text of 10 points, drawn at 150 dots an inch, gets as large as ours
_BEFORE_PERCENT = re.compile(r"(?<=\d) (?=%)")
_NOTHING_LOADED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1d2025; --faint: #5d6470;
  --line: #d9dce1; --band: #f3f4f6; --accent: #1a5fb4; --shade: #0006; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171b; --ink: #e6e8eb; --faint: #a0a7b3;
  --line: #363b44; --band: #1e2127; --accent: #8ab8f5; --shade: #fff6; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 50rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.6 system-ui, "Segoe UI", "Noto Sans", sans-serif;
  overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; }
h1 { font-size: clamp(1.6rem, 5vw, 2.2rem); margin: 0 0 1rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.75rem 0 .5rem; }
p, ul { margin: .75rem 0; }
ul { padding-left: 1.25rem; }
li { margin: .35rem 0; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .92rem; }
nav a { text-decoration: none; padding: .2rem 0; }
nav a:hover { text-decoration: underline; }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.5rem 0; }
dl > div { flex: 1 1 auto; background: var(--band); border-radius: .5rem; padding: .7rem .9rem; }
dt { color: var(--faint); font-size: .82rem; }
dd { margin: 0; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 1.25rem 0; }
figcaption { color: var(--faint); font-size: .9rem; margin: .4rem 0; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
img.night { display: none; }
@media screen and (prefers-color-scheme: dark) {
  img.day { display: none; }
  img.night { display: block; }
}
.scroll { overflow: auto; max-height: 44rem; border: 1px solid var(--line); border-radius: .5rem;
  background: linear-gradient(to right, var(--paper) 40%, transparent) left / 3rem 100% local,
    linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100% local,
    linear-gradient(to right, var(--shade), transparent) left / .8rem 100% scroll,
    linear-gradient(to left, var(--shade), transparent) right / .8rem 100% scroll;
  background-repeat: no-repeat; }
.scroll:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; overflow-wrap: normal; }
th, td { padding: .4rem .8rem; text-align: left; vertical-align: top; min-width: 4rem;
  max-width: 24rem; overflow-wrap: break-word; border-bottom: 1px solid var(--line); }
thead th { position: sticky; top: 0; background: var(--band); }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
@media (max-width: 30rem) {
  th, td { padding: .35rem .3rem; min-width: 2.2rem; max-width: 9rem; font-size: .85rem; }
}
pre { overflow-x: auto; background: var(--band); border-radius: .5rem; padding: .8rem 1rem;
  font: .88rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: normal; }
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --band: #f3f3f3;
    --accent: #000; color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  h2, h3, figcaption { break-after: avoid; }
  tr, figure:has(img), dl > div { break-inside: avoid; }
  img { width: auto; max-width: 60%; max-height: 22cm; }
  th, td { padding: .2rem .6rem; }
  .scroll { overflow: visible; max-height: none; }
  thead th { position: static; }
  pre { white-space: pre-wrap; }
}
""".strip()


def written(
    document: Document, pictures: Mapping[str, bytes], *, dark: Mapping[str, bytes] = _NONE
) -> str:
    """Return the document as an HTML page.

    It follows the reader's choice of light or dark, and fits a phone: tables scroll within
    themselves.

    Args:
        document: What to write.
        pictures: The PNG file of each picture by name; they are put into the page.
        dark: PNG or JPEG files of the same size and name, for readers who like it dark.

    Examples:
        >>> page = written(Document(title="a < b", sections=(Section(title="Data"),)), {})
        >>> "<h1>a &lt; b</h1>" in page, '<section id="data">' in page
        (True, True)
    """
    title = _safe(document.title)
    links = " ".join(
        f'<a href="#{_anchor(section.title)}">{_safe(section.title)}</a>'
        for section in document.sections
    )
    drawn = {name: (light, dark.get(name)) for name, light in pictures.items()}
    body = "\n".join(
        line for section in document.sections for line in _section(section, drawn, level=2)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_NOTHING_LOADED}">
<title>{title}</title>
<style>
{_STYLE}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
<nav aria-label="Contents">{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def _section(section: Section, pictures: Mapping[str, _Drawn], *, level: int) -> Iterator[str]:
    yield f'<section id="{_anchor(section.title)}">'
    yield f"<h{level}>{_safe(section.title)}</h{level}>"
    for block in section.blocks:
        yield _block(block, pictures)
    for part in section.sections:
        yield from _section(part, pictures, level=level + 1)
    yield "</section>"


def _block(block: Block, pictures: Mapping[str, _Drawn]) -> str:
    match block:
        case Paragraph():
            return f"<p>{_safe(block.text)}</p>"
        case Bullets():
            return f"<ul>{''.join(f'<li>{_safe(item)}</li>' for item in block.items)}</ul>"
        case KeyFigures():
            pairs = block.figures.items()
            return (
                "<dl>"
                + "".join(
                    f"<div><dt>{_safe(name)}</dt><dd>{_safe(figure)}</dd></div>"
                    for name, figure in pairs
                )
                + "</dl>"
            )
        case Table():
            return _table(block)
        case Picture():
            caption = _safe(block.caption)
            shown = _picture(*pictures[block.name], caption)
            return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"
        case Code():
            lines = "\n".join(plain_lines(block.text))
            return f"<pre><code>{escape(lines)}</code></pre>"


def _picture(light: bytes, dark: bytes | None, words: str) -> str:
    width = round(_SHRUNK * int.from_bytes(light[16:20], "big"))  # where PNG has it
    by_day = f'alt="{words}" width="{width}" src="{_data(light)}">'
    if dark is None:
        return f"<img {by_day}"
    by_night = f'alt="{words}" width="{width}" src="{_data(dark)}">'
    return f'<img class="day" {by_day}<img class="night" {by_night}'


def _data(file: bytes) -> str:
    kind = "jpeg" if file.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _table(table: Table) -> str:
    caption = _safe(table.caption)
    kinds = [
        "" if place < table.words else ' class="number"' for place in range(len(table.columns))
    ]
    head = "".join(
        f'<th scope="col"{kind}>{_safe(cell)}</th>'
        for kind, cell in zip(kinds, table.columns, strict=True)
    )
    rows = "\n".join(f"<tr>{_row(row, kinds)}</tr>" for row in table.rows)
    return (
        f"<figure><figcaption>{caption}</figcaption>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
        "</figure>"
    )


def _row(row: Sequence[str], kinds: Sequence[str]) -> str:
    first, *rest = row
    cells = "".join(
        f"<td{kind}>{_safe(cell)}</td>" for kind, cell in zip(kinds[1:], rest, strict=True)
    )
    return f'<th scope="row">{_safe(first)}</th>{cells}'


def _safe(text: str) -> str:
    """Return text that is shown as it is, with no line between a number and its percent sign."""
    return escape(_BEFORE_PERCENT.sub("\u00a0", plain(text)))


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", plain(title).lower()).strip("-")
