"""Put measured tables into the pages that show them."""

from pathlib import Path

START, END = "<!-- results -->\n", "<!-- end of results -->\n"


def insert(page: Path, text: str) -> None:
    """Replace what stands between a page's two marks.

    Raises:
        ValueError: The page has not each mark once, in order.
    """
    content = page.read_text("utf-8")
    once = content.count(START) == content.count(END) == 1
    if not once or content.index(END) < content.index(START):
        raise ValueError(f"{page} must have {START!r} and then {END!r}, once each.")
    before, rest = content.split(START)
    page.write_text(f"{before}{START}\n{text}\n{END}{rest.split(END)[1]}", "utf-8")
