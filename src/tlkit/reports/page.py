"""Markdown as one HTML page that loads nothing: style and pictures are inside, no script is."""

import base64
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_NO_PICTURES: Mapping[str, bytes] = MappingProxyType({})
_SCALE = 0.8  # shows text of 10 points, drawn at 150 dots per inch, at the size of the page's text
_BEFORE_PERCENT = re.compile(r"(?<=\d) (?=%)")
_HEADING = ("heading_open", "h2")


class _Section(NamedTuple):
    """A heading of the second level and what follows it, as HTML."""

    id: str
    title: str
    html: Markup


def render_page(
    markdown: str, pictures: Mapping[str, bytes], *, dark: Mapping[str, bytes] = _NO_PICTURES
) -> str:
    r"""Return Markdown as an HTML page, in light or dark mode as the reader's system is.

    Args:
        markdown: A title, then sections. A paragraph that is emphasized as a whole is the caption
            of the table after it or the picture before it.
        pictures: The PNG file of each picture that the Markdown links to as `<name>.png`.
        dark: PNG or JPEG files by the same names for dark mode, of the same size.

    Examples:
        >>> page = render_page("# a &lt; b\n\n## Data\n", {})
        >>> "<h1>a &lt; b</h1>" in page, '<section id="data">' in page
        (True, True)
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.children:
            token.children = list(_inline(token.children, pictures, dark))
    tokens = list(_tables(tokens))
    starts = [at for at, token in enumerate(tokens) if (token.type, token.tag) == _HEADING]
    html = [
        Markup(parser.renderer.render(tokens[start:end], parser.options, {}))  # noqa: S704
        for start, end in pairwise([0, *starts, len(tokens)])
    ]
    titles = [_text(tokens[start + 1]) for start in starts]
    sections = [
        _Section(re.sub(r"\W+", "-", title.lower()).strip("-"), title, part)
        for title, part in zip(titles, html[1:], strict=True)
    ]
    title = _text(tokens[1])
    return _template().render(title=title, header=html[0], sections=sections) + "\n"


@cache
def _template() -> Template:
    loader = PackageLoader("tlkit.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")


def _inline(
    tokens: list[Token], pictures: Mapping[str, bytes], dark: Mapping[str, bytes]
) -> Iterator[Token]:
    """Put pictures into the page, and keep each number and its percent sign on one line."""
    for token in tokens:
        if token.type == "image":
            yield from _picture(token, pictures, dark)
        else:
            if token.type == "text":
                token.content = _BEFORE_PERCENT.sub("\u00a0", token.content)
            yield token


def _picture(
    token: Token, pictures: Mapping[str, bytes], dark: Mapping[str, bytes]
) -> Iterator[Token]:
    name = str(token.attrs["src"]).removesuffix(".png")
    light = pictures[name]
    width = round(_SCALE * int.from_bytes(light[16:20], "big"))  # from the header of the PNG file
    shown = {"light": light, "dark": dark[name]} if name in dark else {"": light}
    for mode, file in shown.items():
        attributes = {"alt": "", "width": width, "src": _data_uri(file)}
        yield token.copy(attrs={"class": mode, **attributes} if mode else attributes)


def _data_uri(file: bytes) -> str:
    kind = "jpeg" if file.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _tables(tokens: list[Token]) -> Iterator[Token]:
    """Let each table scroll in a region of its own, and mark its headings and captions."""
    caption = ""
    first_cell = False
    for at, token in enumerate(tokens):
        if token.type == "paragraph_open" and _is_caption(tokens[at + 1]):
            caption = _text(tokens[at + 1])
            token.attrSet("class", "caption")
        elif token.type == "table_open":
            attributes: dict[str, str | int | float] = {
                "class": "scroll",
                "tabindex": "0",
                "role": "region",
                "aria-label": caption,
            }
            yield Token("scroll_open", "div", 1, attrs=attributes, block=True)
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "tr_open":
            first_cell = True
        elif token.type == "td_open" and first_cell:
            token.tag = "th"
            token.attrSet("scope", "row")
        elif token.type == "td_close" and first_cell:
            token.tag = "th"
            first_cell = False
        yield token
        if token.type == "table_close":
            yield Token("scroll_close", "div", -1, block=True)


def _is_caption(token: Token) -> bool:
    children = token.children or []
    return bool(children) and (children[0].type, children[-1].type) == ("em_open", "em_close")


def _text(token: Token) -> str:
    return "".join(child.content for child in token.children or [])
