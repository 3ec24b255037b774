"""The pages of a server in a browser, on a phone and a desktop, light and dark."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.accessibility import find_barriers
from tests.browser import DESKTOP, PHONE, open_browser
from tests.deployment.images import encode, make_picture
from tests.deployment.serving.conftest import NAMES, RunningServer

from tlkit.deployment import Predictor

SCREENS = [(width, scheme) for width in (PHONE, DESKTOP) for scheme in ("light", "dark")]
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true}));
}"""


@pytest.fixture(scope="module")
def browser(server: RunningServer) -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@contextmanager
def _open(browser: Any, url: str, *, width: int = DESKTOP, scheme: str = "light") -> Iterator[Any]:
    """Yield a page, and check that it asked no other host and raised no error."""
    screen = {"width": width, "height": 800}
    context = browser.new_context(viewport=screen, color_scheme=scheme)
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(url)
    yield page
    host = re.match(r"http://[^/]+/", url)
    assert host is not None
    assert all(each.startswith((host[0], "blob:", "data:")) for each in asked)
    assert errors == []
    context.close()


def _brightness(page: Any, name: str) -> float:
    colour = page.evaluate(f"getComputedStyle(document.body).{name}")
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def _check_screen(page: Any, width: int, scheme: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = _brightness(page, "backgroundColor"), _brightness(page, "color")
    light, dark = (paper, ink) if scheme == "light" else (ink, paper)
    assert light > 200 > 60 > dark


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_a_chosen_image_is_classified(
    browser: Any, server: RunningServer, predictor: Predictor, width: int, scheme: str
) -> None:
    content = encode(make_picture())
    with _open(browser, f"{server.url}/", width=width, scheme=scheme) as page:
        file = {"name": "a <b>.png", "mimeType": "image/png", "buffer": content}
        page.set_input_files("#choose", [file])
        page.locator("article li").nth(2).wait_for()
        expected = predictor.predict(content)[0]
        rows = page.locator("article li").all_inner_texts()
        names = [row.splitlines()[0] for row in rows]
        assert names == [name for name, _ in expected.classes]
        assert float(rows[0].split()[-2]) == pytest.approx(100 * expected.probability, abs=0.06)
        assert page.locator("article h2").inner_text() == expected.label
        assert page.locator("article .name").inner_text() == "a <b>.png"
        assert page.locator("article .unlike").count() == bool(expected.is_unlike)
        assert page.locator("article img").evaluate("image => image.naturalWidth") == 50
        assert page.title() == "Classify images"  # the name of a class is no script
        assert NAMES[1] in page.locator("#about").inner_text()
        _check_screen(page, width, scheme)


def test_dropped_files_are_classified_and_what_is_none_is_said(
    browser: Any, server: RunningServer
) -> None:
    with _open(browser, f"{server.url}/") as page:
        page.evaluate(DROP, ["notes.txt", "aGVsbG8="])
        page.locator("article .wrong").wait_for()
        text = page.locator("article .wrong").inner_text()
        assert text == "The image, 'notes.txt', can't be read as an image: " + (
            "its image format is unknown."
        )
        page.evaluate(DROP, ["dot.gif", "R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs="])
        page.locator("article li").nth(2).wait_for()
        assert page.locator("article").count() == 2
        assert page.locator("article").first.locator("li").count() == 3  # the newest is above


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_documentation_shows_every_route_without_other_hosts(
    browser: Any, server: RunningServer, width: int, scheme: str
) -> None:
    with _open(browser, f"{server.url}/docs", width=width, scheme=scheme) as page:
        page.locator("section").nth(3).wait_for()
        titles = page.locator("section h2 code").all_inner_texts()
        assert titles == [
            "/predict",
            "/health",
            "/ready",
            "/metadata",
        ]
        words = page.locator("body").inner_text()
        assert "too_many_images" in words
        assert f'curl -F images=@daisy.jpg -F images=@rose.jpg "{server.url}/predict' in words
        _check_screen(page, width, scheme)


def test_the_examples_of_the_documentation_work(
    browser: Any, server: RunningServer, run_python: Any, tmp_path: Path
) -> None:
    with _open(browser, f"{server.url}/docs") as page:
        page.locator("section").nth(3).wait_for()
        program = page.locator("#python").inner_text()
    (tmp_path / "daisy.jpg").write_bytes(encode(make_picture(), "JPEG"))
    printed = run_python(f"import os; os.chdir({str(tmp_path)!r})\n{program}")
    assert any(name in printed for name in NAMES) and "probability" in printed


def _answer(content: Any, route: Any) -> None:
    route.fulfill(json=content)


def test_the_labels_of_a_multi_label_classifier_are_shown(
    browser: Any, server: RunningServer
) -> None:
    classes = [{"class": "cat", "probability": 0.99999}, {"class": "dog", "probability": 0.0001}]
    found = {"name": "a.png", "labels": ["cat", "dog"], "classes": classes}
    file = {"name": "a.png", "mimeType": "image/png", "buffer": encode(make_picture())}
    with _open(browser, f"{server.url}/") as page:
        for labels, title in (["cat", "dog"], "cat, dog"), ([], "none of the classes"):
            answer = {"predictions": [{**found, "labels": labels}]}
            page.route("**/predict*", partial(_answer, answer))
            page.set_input_files("#choose", [file])
            page.locator("article h2", has_text=title).wait_for()
        rows = page.locator("article").first.locator("li").all_inner_texts()
        assert [row.split("\n")[-1] for row in rows] == ["> 99.9 %", "< 0.1 %"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["", "docs"])
def test_no_page_has_a_barrier(browser: Any, server: RunningServer, name: str, scheme: str) -> None:
    with _open(browser, f"{server.url}/{name}", width=PHONE, scheme=scheme) as page:
        assert find_barriers(page) == []
