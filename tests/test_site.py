"""Every page of the documentation as it is built: its links, and how it looks in a browser."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from tests.accessibility import find_barriers
from tests.browser import DESKTOP, open_browser

ROOT = Path(__file__).parent.parent
PHONE = 390
SECTIONS = ("", *sorted(path.name for path in (ROOT / "docs").iterdir() if list(path.glob("*.md"))))

# One page of each kind is checked whole, light and dark; of the others only what is their own.
KINDS = ("", "gallery", "how-to/from-photos-to-a-report", "explanation/speed", "reference/cache")

# what moves is still, so that colours and places are the final ones
_STILL = """addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent = "*, *::before, *::after { transition: none !important; }";
  document.head.append(style);
})"""
_BROKEN = "[...document.images].filter((one) => !one.naturalWidth).map((one) => one.src)"
_WIDE = """[...document.querySelectorAll("article *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .filter((one) => !one.closest("pre, .md-typeset__scrollwrap, .tabbed-labels, .tl-scroll"))
  .map((one) => one.outerHTML)"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; skipped without what builds it."""
    for name in ("zensical", "mkdocstrings"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    if (ROOT / "src").exists():  # else the package that is installed is described
        (folder / "src").symlink_to(ROOT / "src")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


class _Links(HTMLParser):
    """Collects what a page links to or shows, and the names that a link can end with."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.names: set[str | None] = {""}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names |= {found.get("id"), found.get("name")}
        self.targets += [link for key in ("href", "src") if (link := found.get(key))]


def _pages(site: Path) -> dict[Path, _Links]:
    return {path: _Links(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_file_of_the_documentation_is_in_the_navigation() -> None:
    """Zensical finds links to pages that don't exist, but neither of these."""
    yaml = pytest.importorskip("yaml")
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]

    def names(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for part in entry.values() if isinstance(entry, dict) else entry:
                yield from names(part)

    docs = ROOT / "docs"
    there = sorted(str(path.relative_to(docs)) for path in docs.rglob("*.md"))
    assert sorted(names(nav)) == there


def test_every_link_and_picture_of_a_page_is_there(site: Path) -> None:
    pages = _pages(site)
    assert len(pages) > 80
    missing = []
    for page, links in pages.items():
        if page.name == "404.html":  # its links start at the root, wherever that is
            continue
        for link in links.targets:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            names = pages[target].names if target in pages else {parts.fragment}
            if not target.is_file() or unquote(parts.fragment) not in names:
                missing.append(f"{page.relative_to(site)}: {link}")
    assert missing == []


@contextmanager
def _open(browser: Any, scheme: str = "light") -> Iterator[Any]:
    """Yield a tab, and check that its pages raised no error and asked no other host."""
    screen = {"width": DESKTOP, "height": 900}
    context = browser.new_context(viewport=screen, color_scheme=scheme)
    context.add_init_script(_STILL)
    context.set_default_timeout(120_000)  # machines are slow while all tests run
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    assert errors == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []
    context.close()


@pytest.mark.parametrize("section", SECTIONS)
def test_pages_fit_a_phone_and_a_desktop(
    section: str, site: Path, address: str, browser: Any
) -> None:
    troubles = []
    pages = sorted((site / section).glob("*/index.html"))
    pages += [] if section else [site / "index.html"]
    with _open(browser) as tab:
        for page in pages:
            name = str(page.parent.relative_to(site))
            tab.set_viewport_size({"width": DESKTOP, "height": 900})
            tab.goto(f"{address}{name}/")
            for width in (DESKTOP, PHONE):
                tab.set_viewport_size({"width": width, "height": 900})
                needed = tab.evaluate("document.documentElement.scrollWidth")
                if needed > width or (wide := tab.evaluate(_WIDE)):
                    troubles.append(f"{name}: {needed} of {width} pixels: {wide[:3]}")
            troubles += [f"{name}: {source}" for source in tab.evaluate(_BROKEN)]
            barriers = find_barriers(tab, include="article", exclude="pre", colours=False)
            troubles += [f"{name}: {barrier}" for barrier in barriers]
    assert pages and troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", KINDS)
def test_pages_of_each_kind_have_no_barrier(
    page: str, scheme: str, address: str, browser: Any
) -> None:
    with _open(browser, scheme) as tab:
        tab.goto(f"{address}{page}")
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light"), paper
        assert find_barriers(tab) == []
        tab.set_viewport_size({"width": PHONE, "height": 900})
        assert find_barriers(tab, exclude="article") == []


def test_wide_blocks_and_tables_scroll_on_a_phone(address: str, browser: Any) -> None:
    scroll = "(all) => all.map((one) => [one.scrollWidth, one.clientWidth, one.tabIndex])"
    with _open(browser) as tab:
        tab.set_viewport_size({"width": PHONE, "height": 900})
        for page, each in (
            ("how-to/from-photos-to-a-report/", "pre > code"),
            ("explanation/speed/", ".md-typeset__scrollwrap"),
        ):
            tab.goto(address + page)
            found = tab.locator(each).evaluate_all(scroll)
            assert any(needed > shown for needed, shown, _ in found)
            assert all(index == 0 for needed, shown, index in found if needed > shown)


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("class weight", "how-to/unequal-classes/"),
        ("own photos", "how-to/your-own-images/"),
        ("confusion matrix", "tutorial/"),
    ],
)
def test_the_search_finds(words: str, page: str, address: str, browser: Any) -> None:
    with _open(browser) as tab:
        tab.goto(address)
        tab.locator(".md-search__button").click()
        tab.keyboard.type(words)
        results = tab.locator("ol li a")
        for _ in range(80):  # results of the first letters come before those of all
            found = results.evaluate_all("(all) => all.map((one) => one.href)")
            if any(link.startswith(address + page) for link in found[:10]):
                break
            tab.wait_for_timeout(250)
        else:
            pytest.fail(f"not found within 20 s: {found}")
