import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tlkit.reports import images


def test_a_dark_figure_has_the_color_of_the_page_and_unchanged_photos() -> None:
    figure = Figure(figsize=(2, 1))
    left, right = figure.subplots(1, 2)
    left.imshow(np.full((4, 4, 3), [200, 30, 60], "uint8"))
    right.plot([0, 1], color="black")
    light = images.rasterize(figure)
    night = np.asarray(Image.open(io.BytesIO(images.encode_dark(figure, light))).convert("RGB"))
    assert night.shape == (150, 300, 3)
    np.testing.assert_allclose(
        night[0, 0], [0x15, 0x17, 0x1B], atol=2
    )  # the dark page's background
    inside = left.get_position()
    row, column = round(150 * (1 - inside.y0 - inside.height / 2)), round(300 * inside.x0 + 40)
    np.testing.assert_allclose(night[row, column], [200, 30, 60], atol=12)
    assert night[:, 180:].max() > 200  # the black line


def test_a_dark_figure_keeps_its_hues() -> None:
    figure = Figure(figsize=(1, 1), facecolor="#000080")
    turned = Image.open(io.BytesIO(images.encode_dark(figure, images.rasterize(figure)))).convert(
        "RGB"
    )
    red, green, blue = turned.getpixel((5, 5))
    assert blue > 250
    assert 100 < red < 150 and 100 < green < 150


@pytest.mark.parametrize("points", [0.8, 3.0])
def test_a_dark_figure_inverts_the_frame_of_a_photo_but_not_the_photo(points: float) -> None:
    figure = Figure(figsize=(1, 1))
    panel = figure.add_axes((0.2, 0.2, 0.6, 0.6), xticks=[], yticks=[])
    panel.imshow(np.zeros((4, 4, 3), "uint8"), aspect="auto")
    for edge in panel.spines.values():
        edge.set(color="0.8", linewidth=points)
    picture = Image.open(io.BytesIO(images.encode_dark(figure, images.rasterize(figure)))).convert(
        "RGB"
    )
    across = np.asarray(picture).mean(axis=-1)[75]
    half = points / 2 * 150 / 72
    assert across[30 + round(half) + 4 : 120 - round(half) - 4].max() < 20  # black stays black


def test_a_figure_keeps_its_canvas_and_resolution() -> None:
    figure = Figure(figsize=(2, 1), dpi=72)
    canvas = figure.canvas
    assert images.rasterize(figure).shape == (150, 300, 3)
    assert figure.canvas is canvas
    assert figure.dpi == 72


def test_a_light_picture_has_the_pixels_that_savefig_writes() -> None:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 2, 1])
    expected = io.BytesIO()
    figure.savefig(expected, format="png", dpi=150)
    picture = Image.open(io.BytesIO(images.encode_light(images.rasterize(figure))))
    assert picture.format == "PNG"
    np.testing.assert_array_equal(picture, Image.open(expected).convert("RGB"))
