"""Copy CHANGELOG.md into the documentation, with links that start there.

python tools/copy_changelog.py
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "changelog.md"


def to_page(changelog: str) -> str:
    """Return the changelog as a page of the documentation."""
    return changelog.replace("](docs/", "](")


def main() -> None:
    """Write the page."""
    PAGE.write_text(to_page((ROOT / "CHANGELOG.md").read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
