from tools.copy_changelog import PAGE, ROOT, to_page


def test_the_page_is_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    page = PAGE.read_text("utf-8")
    assert page == to_page(changelog), "run: python tools/copy_changelog.py"
    assert "](docs/" in changelog
    assert "](docs/" not in page
