"""Put measured tables into the pages that show them."""

from pathlib import Path


def insert(page: Path, text: str) -> None:
    """Replace what stands between a page's two marks."""
    start, end = "<!-- results -->\n", "<!-- end of results -->\n"
    before, _, rest = page.read_text("utf-8").partition(start)
    page.write_text(f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}", "utf-8")
