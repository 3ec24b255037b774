"""The page as HTML, and in a browser; the latter is skipped where there is no Chromium."""

import html
import io
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.accessibility import find_barriers
from tests.browser import open_browser
from tests.reports.test_render import SECTIONS

from tlkit.reports.page import render_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
in_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

PHONE, DESKTOP = 375, 1280
LONG = "a/very_long_path_without_any_space/" * 8
DARK, LIGHT = 0, 1

# Measures frames as wide as a phone and a desktop, and writes the result to the title.
LOOK = """<script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, root = page.documentElement;
    page.querySelectorAll("details").forEach((each) => each.open = true);
    const style = frame.contentWindow.getComputedStyle(page.body);
    return {
      width: root.clientWidth, needed: root.scrollWidth,
      paper: style.backgroundColor, ink: style.color,
      pictures: [...page.images].filter((image) => image.clientWidth).map((image) =>
        [image.naturalWidth, image.clientWidth]),
      tables: [...page.querySelectorAll(".scroll")].map((each) => [
        each.scrollWidth, each.clientWidth]),
      text: parseFloat(style.fontSize),
      drawn: [...page.images].filter((image) => image.clientWidth).map((image) =>
        image.currentSrc.slice(0, 15)),
      tiles: [...page.querySelectorAll("#abstract strong")].map((each) =>
        each.clientHeight / parseFloat(frame.contentWindow.getComputedStyle(each).lineHeight)),
      hints: [...page.querySelectorAll(".scroll")].map((each) =>
        frame.contentWindow.getComputedStyle(each).backgroundAttachment),
      scripted: page.title,
      headings: [...page.querySelectorAll("h2")].map((each) => each.innerText),
      words: page.body.innerText,
    };
  });
  document.title = JSON.stringify(seen);
});
</script>"""


PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + (100).to_bytes(4, "big") * 2
WIDE = "class" + "".join(f" | column {number}" for number in range(12))
MARKDOWN = f"""# A &lt;script&gt;document.title='run'&lt;/script&gt; title

## Abstract

- accuracy **97.5 %**
- 95 % interval **84.56 to 91.55 %**
- test images **322**
- time **1 min 12 s**

## Data

Text and {LONG}

- {LONG}

*Wide.*

| {WIDE} |
| ---{" | ---:" * 12} |
| rose{" | 99.99 %" * 12} |
| a class of many words{" | 99.99 %" * 12} |

*Paths.*

| a | b |
| --- | --- |
| {LONG} | {LONG} |

![Curves.](curves.png)

*Curves.*

```sh
python train.py {LONG} 5 %
```
"""


@cache
def _page() -> str:
    figure = Figure(figsize=(8, 3))
    figure.subplots().plot(np.arange(5))
    files = {"png": io.BytesIO(), "jpeg": io.BytesIO()}
    for kind, file in files.items():
        figure.savefig(file, dpi=150, format=kind)
    light, dark = ({"curves": file.getvalue()} for file in files.values())
    return render_page(MARKDOWN, light, dark=dark)


def test_tables_have_headings_and_a_name() -> None:
    page = _page()
    assert '<th style="text-align:right" scope="col">column 3</th>' in page
    assert '<th scope="row">rose</th>\n<td style="text-align:right">99.99\u00a0%</td>' in page
    assert re.findall('role="region" aria-label="(.*?)"', page) == ["Wide.", "Paths."]


def test_the_contents_link_to_the_sections() -> None:
    contents = re.findall(r'<a href="#(.*?)">', _page())
    assert contents == re.findall(r'<div id="(.*?)">', _page()) == ["abstract", "data"]


def test_sections_fold_and_those_named_are_folded() -> None:
    page = render_page(MARKDOWN.replace("![Curves.](curves.png)", ""), {}, folded=["Data"])
    assert re.findall(r"<details( open)?>", page) == [" open", ""]
    assert "<summary><h2>Data</h2>" in page.replace("\n", "")


def test_figures_that_follow_each_other_are_a_group_and_each_has_its_caption() -> None:
    one = "![A.](a.png)\n\n*Caption of a.*\n\n"
    pictures = dict.fromkeys("ab", PNG)
    page = render_page(f"# t\n\n## x\n\n{one}text\n\n{one}{one.replace('a', 'b')}end\n", pictures)
    assert page.count("<figure>") == page.count("<figcaption class=") == 3
    assert page.count('<div class="figures">') == 1
    group = page.split('<div class="figures">')[1].split("</div>")[0]
    assert group.count("<figure>") == 2


@in_browser
def test_a_link_to_a_folded_section_unfolds_it(tmp_path: Path) -> None:
    page = render_page("# t\n\n## Data\n\nInside.\n", {}, folded=["Data"])
    script = (
        "<script>location.hash = 'data'; setTimeout(() => {"
        "document.title = document.querySelector('details').open}, 500)</script>"
    )
    page = re.sub(r"<meta http-equiv.*?>", "", page).replace("</body>", f"{script}</body>")
    (tmp_path / "page.html").write_text(page, "utf-8")
    assert _title(_dumped(tmp_path / "page.html", tmp_path / "profile", LIGHT)) == "true"


def test_a_percent_sign_stays_with_its_number_but_not_in_code() -> None:
    assert "95\u00a0% interval" in _page()
    assert "/ 5 %\n</code>" in _page()


def test_markdown_can_hold_no_html() -> None:
    page = render_page("# a\n\n## b\n\n<script>x</script> <b>y</b>\n", {})
    assert "&lt;script&gt;x" in page and "&lt;b&gt;y" in page


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("page")
    return cache(lambda scheme: _seen(_page(), folder, scheme))


def _seen(page: str, folder: Path, scheme: int) -> dict[int, dict[str, Any]]:
    """Return measurements of a page on a phone and a desktop."""
    frames = "".join(
        f'<iframe style="width:{width}px;height:800px;border:0" '
        f'srcdoc="{html.escape(page)}"></iframe>'
        for width in (PHONE, DESKTOP)
    )
    host = folder / f"host-{scheme}.html"
    host.write_text(f"<!doctype html><meta charset=utf-8>{LOOK}{frames}", "utf-8")
    seen = json.loads(_title(_dumped(host, folder / "profile", scheme)))
    return {view["width"]: view for view in seen}


def _dumped(page: Path, profile: Path, scheme: int) -> str:
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1400,900",
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={scheme}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def _title(dom: str) -> str:
    [title] = re.findall(r"<title>(.*?)</title>", dom, flags=re.S)[:1]
    return html.unescape(title)


@in_browser
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_is_wider_than_the_screen(look: Any, width: int) -> None:
    view = look(LIGHT)[width]
    assert view["needed"] <= width
    assert view["text"] >= 16
    for natural, shown in view["pictures"]:
        assert 0 < shown <= width
        assert natural == 1200  # 8 inches: the data in the page could be read


@in_browser
def test_wide_tables_scroll_within_themselves_on_a_phone(look: Any) -> None:
    wide, paths = look(LIGHT)[PHONE]["tables"]
    assert wide[1] < PHONE < wide[0]
    assert paths[1] < PHONE


@in_browser
def test_the_page_is_light_or_dark_as_the_system_is(look: Any) -> None:
    def brightness(colour: str) -> float:
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    light, dark = look(LIGHT)[PHONE], look(DARK)[PHONE]
    assert brightness(light["paper"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["ink"]) > 200 > 60 > brightness(dark["paper"])


@in_browser
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_no_key_figure_wraps(look: Any, width: int) -> None:
    assert [round(lines) for lines in look(LIGHT)[width]["tiles"]] == [1, 1, 1, 1]


@in_browser
def test_a_table_that_scrolls_has_shadows_at_its_edges(look: Any) -> None:
    for hint in look(LIGHT)[PHONE]["hints"]:
        assert hint == "local, local, scroll, scroll"  # covers move, the shadows beneath don't


@in_browser
def test_a_picture_fits_the_screen(look: Any) -> None:
    [[natural, shown]] = look(LIGHT)[DESKTOP]["pictures"]
    assert natural == 1200 and 760 <= shown <= 960  # 960, but for the column
    assert look(LIGHT)[PHONE]["pictures"] == [[1200, PHONE - 40]]


@in_browser
def test_a_dark_page_shows_the_dark_pictures(look: Any) -> None:
    assert look(LIGHT)[PHONE]["drawn"] == ["data:image/png;"]
    assert look(DARK)[PHONE]["drawn"] == ["data:image/jpeg"]


def test_the_printed_page_shows_the_light_pictures() -> None:
    style = _page().split("<style>")[1].split("</style>")[0]
    assert re.findall(r"(@media[^{]*)\{\s*img\.light", style) == [
        "@media screen and (prefers-color-scheme: dark) "
    ]
    assert "img.dark { display: none; }" in style.split("@media screen")[0]


@in_browser
def test_no_text_runs_as_a_script(look: Any) -> None:
    assert look(LIGHT)[PHONE]["scripted"] == "A <script>document.title='run'</script> title"


@in_browser
@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_report_of_a_run_fits_a_phone_and_a_desktop(
    trained: Path, tmp_path: Path, scheme: int
) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    seen = _seen((trained / "report.html").read_text("utf-8"), tmp_path, scheme)
    assert seen.keys() == {PHONE, DESKTOP}
    assert {path.stem for path in trained.glob("*.png")} >= {"grad_cam", "features", "errors"}
    drawn = len(list(trained.glob("*.png"))) - 1  # all but the picture for a portfolio
    drawn -= metrics["accuracy"] == 1  # nothing is confused
    for width, view in seen.items():
        assert view["needed"] <= width
        assert len(view["pictures"]) == drawn
        assert all(natural > 500 and 0 < shown <= width for natural, shown in view["pictures"])
        assert view["headings"] == SECTIONS
        words = " ".join(view["words"].split())  # spaces that don't break among them
        assert f"{100 * metrics['accuracy']:.1f} %" in words
        assert max(map(round, view["tiles"])) == 1
        assert all(needed <= shown for needed, shown in view["tables"])
        assert "tlkit train" in words
        assert "digit 2" in words
        assert not re.search(r"\bnan\b|None(?! of )|\{|\[\]", words)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_a_run_has_no_barrier(trained: Path, scheme: str) -> None:
    with open_browser() as browser:
        tab = browser.new_page(viewport={"width": PHONE, "height": 800}, color_scheme=scheme)
        tab.set_default_timeout(120_000)
        tab.goto((trained / "report.html").as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert find_barriers(tab) == []
