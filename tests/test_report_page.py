"""What a reader's browser makes of the page; skipped where there is no Chromium."""

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

from tlkit import document_html
from tlkit.documents import Bullets, Code, Document, KeyFigures, Paragraph, Picture, Section, Table

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

PHONE, DESKTOP = 375, 1280
LONG = "a/very_long_path_without_any_space/" * 8
DARK, LIGHT = 0, 1

# Looks into frames as wide as a phone and a desk's screen, and leaves what it saw as the title.
LOOK = """<script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, root = page.documentElement;
    const style = frame.contentWindow.getComputedStyle(page.body);
    return {
      width: root.clientWidth, needed: root.scrollWidth,
      paper: style.backgroundColor, ink: style.color,
      pictures: [...page.images].map((image) => [image.naturalWidth, image.clientWidth]),
      tables: [...page.querySelectorAll(".scroll")].map((each) => [
        each.scrollWidth, each.clientWidth]),
      text: parseFloat(style.fontSize),
      scripted: page.title,
      headings: [...page.querySelectorAll("h2")].map((each) => each.innerText),
      words: page.body.innerText,
    };
  });
  document.title = JSON.stringify(seen);
});
</script>"""


@cache
def _page() -> str:
    figure = Figure(figsize=(8, 3))
    figure.subplots().plot(np.arange(5))
    columns = ("class", *(f"column {number}" for number in range(12)))
    rows = tuple((name, *("99.99 %",) * 12) for name in ("rose", "a class of many words"))
    document = Document(
        title="A <script>document.title='run'</script> title",
        sections=(
            Section(
                title="Data",
                blocks=(
                    KeyFigures(figures={"accuracy": "97.50 %", "interval": "96.00 to 98.20 %"}),
                    Paragraph(text=f"Words and {LONG}"),
                    Bullets(items=(LONG,)),
                    Table(caption="Wide.", columns=columns, rows=rows),
                    Table(caption="Paths.", columns=("a", "b"), rows=((LONG, LONG),), words=2),
                    Picture(name="curves", caption="Curves."),
                    Code(text=f"python train.py {LONG}", language="sh"),
                ),
            ),
        ),
    )
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    return document_html.written(document, {"curves": picture.getvalue()})


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("page")
    return cache(lambda scheme: _seen(_page(), folder, scheme))


def _seen(page: str, folder: Path, scheme: int) -> dict[int, dict[str, Any]]:
    """Return what a phone and a desk's screen show of a page."""
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


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_nothing_is_wider_than_the_screen(look: Any, width: int) -> None:
    view = look(LIGHT)[width]
    assert view["needed"] <= width
    assert view["text"] >= 16
    for natural, shown in view["pictures"]:
        assert 0 < shown <= width
        assert natural == 1200  # 8 inches: the data in the page could be read


def test_wide_tables_scroll_within_themselves_on_a_phone(look: Any) -> None:
    wide, paths = look(LIGHT)[PHONE]["tables"]
    assert wide[1] < PHONE < wide[0]
    assert paths[1] < PHONE


def test_it_is_light_or_dark_as_the_reader_has_it(look: Any) -> None:
    def brightness(colour: str) -> float:
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    light, dark = look(LIGHT)[PHONE], look(DARK)[PHONE]
    assert brightness(light["paper"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["ink"]) > 200 > 60 > brightness(dark["paper"])


def test_no_text_runs_as_a_script(look: Any) -> None:
    assert look(LIGHT)[PHONE]["scripted"] == "A <script>document.title='run'</script> title"


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_report_of_a_run_is_whole_on_a_phone_and_a_desk(
    trained: Path, tmp_path: Path, scheme: int
) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    seen = _seen((trained / "report.html").read_text("utf-8"), tmp_path, scheme)
    assert seen.keys() == {PHONE, DESKTOP}
    drawn = len(list(trained.glob("*.png"))) - (metrics["accuracy"] == 1)  # nothing is confused
    for width, view in seen.items():
        assert view["needed"] <= width
        assert len(view["pictures"]) == drawn
        assert all(natural > 500 and 0 < shown <= width for natural, shown in view["pictures"])
        assert view["headings"] == [
            "Abstract",
            "Data",
            "Preprocessing",
            "Model",
            "Training",
            "Results",
            "Visualisations",
            "Limits",
            "How to reproduce",
        ]
        words = " ".join(view["words"].split())  # spaces that don't break among them
        assert f"{100 * metrics['accuracy']:.2f} %" in words
        assert "tlkit train" in words
        assert "digit 2" in words
        assert not re.search(r"\bnan\b|None|\{|\[\]", words)
