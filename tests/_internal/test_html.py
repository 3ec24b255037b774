import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from tlkit._internal import html as pages
from tlkit._internal.tables import build_table

_VOID = {"br", "img"}


class _Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [] if tag in _VOID else [tag]
        self.cells += [""] if tag in ("td", "th") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def _cells(page: str) -> list[str]:
    reader = _Reader()
    reader.feed(page)
    assert not reader.open
    return reader.cells


def test_a_table_is_escaped_and_keeps_its_cells() -> None:
    rows = [("<b>cat</b>", "98.5 %"), ("dog\x1b[2J", "-")]
    page = pages.render_html(build_table(("class", "recall"), rows, align="lr", bars=("recall",)))
    assert _cells(page) == ["class", "recall", "<b>cat</b>", "98.5 %", "dog\\x1b[2J", "-"]
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("cell", "column", "width"),
    [("0.250", "recall", 25), ("25.0 %", "recall", 25), ("25.00 ± 0.5", "accuracy, %", 25)],
)
def test_a_bar_is_as_long_as_its_share(cell: str, column: str, width: float) -> None:
    table = build_table(("class", column), [("a", cell)], align="lr", bars=(column,))
    [found] = re.findall(r"\) ([\d.]+)%, transparent", pages.render_html(table))
    assert float(found) == width
    assert "transparent" not in pages.render_html(
        build_table(("class", column), [("a", cell)], align="lr")
    )


def test_a_matrix_shades_each_count_by_its_share_of_the_row() -> None:
    page = pages.matrix(np.array([[3, 1], [0, 4]]), ["a", "<b>"])
    assert _cells(page) == ["", "a", "<b>", "a", "3", "1", "<b>", "", "4"]
    shades = [float(each) for each in re.findall(r"228, ([\d.]+)\)", page)]
    assert shades == [0.45, 0.15, 0, 0.6]


def test_a_curve_goes_from_left_to_right_and_leaves_out_missing_values() -> None:
    page = pages.curve("loss", [2.0, float("nan"), 1.0])
    [points] = re.findall(r'points="([^"]+)"', page)
    (first_x, first_y), (last_x, last_y) = (map(float, each.split(",")) for each in points.split())
    assert first_x < last_x
    assert first_y < last_y  # down on the page
    assert pages.curve("loss", [2.0]) == ""


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_pictures_show_the_pixels(channels: tuple[int, ...]) -> None:
    image = np.zeros((2, 4, *channels), "float32")
    image[0, 0] = 16
    page = pages.pictures({"a & b": image}, (0, 16))
    [data] = re.findall(r"base64,([^\"]+)", page)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
    assert picture.shape == (64, 128)  # large enough to see
    assert picture[::32, ::32].tolist() == [[255, 0, 0, 0], [0, 0, 0, 0]]
    assert "a &amp; b" in page


def test_no_colour_of_text_or_page_is_set() -> None:
    table = pages.render_html(build_table(("a", "b"), [("1", "0.5")], align="lr", bars=("b",)))
    parts = [table, pages.curve("loss", [1, 2]), pages.matrix(np.eye(2), ["a", "b"])]
    for page in parts:
        assert not re.search(r"(?<![\w-])color:", page)
        for colour in re.findall(r"background:([^;\"]+)", page):
            assert "rgba(" in colour
