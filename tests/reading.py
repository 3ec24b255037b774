"""The text and tags of HTML and Markdown, to compare pages."""

import html as html_text
import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt


def shown(page: str) -> list[str]:
    """Return the pieces of text that an HTML page shows, in order, without the list of contents."""
    body = page.split("</nav>")[-1] if "</nav>" in page else page
    title = re.findall(r"<h1>(.*?)</h1>", page, flags=re.S)
    pieces = re.split(r"<[^>]*>", body)
    found = [
        " ".join(html_text.unescape(piece).split())
        for piece in [*title[: "</nav>" in page], *pieces]
    ]
    return [piece for piece in found if piece]


def read_markdown(text: str) -> list[str]:
    """Return the pieces of text that Markdown shows; unlike a report's page, it may hold HTML."""
    return shown(MarkdownIt("commonmark").enable("table").render(text))


class Tags(HTMLParser):
    """The tags of a page, each with the names of its attributes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    @classmethod
    def of(cls, page: str) -> list[tuple[str, ...]]:
        tags = cls()
        tags.feed(page)
        return tags.found
