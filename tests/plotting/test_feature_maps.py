import io

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import tlkit
from tlkit.errors import ConfigError
from tlkit.plotting import feature_map
from tlkit.plotting.feature_maps import draw_map
from tlkit.reports.images import encode_dark, rasterize


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_similar_images_lie_close(spotter: keras.Model, method: str) -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.integers(0, 20, 30), random.integers(230, 250, 30)])
    images = np.broadcast_to(values[:, None, None, None], (60, 16, 16, 3)).astype("uint8")
    figure = feature_map(spotter, (images, (values < 100).astype(int)), method=method)
    name = {"pca": "PCA", "tsne": "t-SNE"}[method]
    assert figure.axes[0].get_title() == f"60 images, features by {name}"
    assert ("of variance" in figure.axes[0].get_xlabel()) == (method == "pca")
    bright, dark = (np.asarray(each.get_offsets()) for each in figure.axes[0].collections)
    assert len(bright) == len(dark) == 30
    apart = np.linalg.norm(bright.mean(axis=0) - dark.mean(axis=0))
    assert apart > 2 * max(np.std(bright, axis=0).max(), np.std(dark, axis=0).max())


def test_reading_stops_when_time_runs_out(spotter: keras.Model) -> None:
    images, labels = np.zeros((200, 16, 16, 3), "uint8"), np.arange(200) % 2
    images[:, 0, 0, 0] = range(200)
    titles = [
        feature_map(spotter, (images, labels), max_seconds=seconds).axes[0].get_title()
        for seconds in (0, None)
    ]
    assert titles == ["64 images, features by PCA", "200 images, features by PCA"]


@pytest.mark.parametrize(
    "names", [["rose", "lily"], ["a name as long as $5 " * 2, "an even longer " * 4]]
)
def test_the_legend_stays_within_the_figure(names: list[str]) -> None:
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), class_names=names)
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    figure = feature_map(model, (images, np.arange(8) % 2))
    figure.savefig(io.BytesIO())
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert "$5" in figure.legends[0].get_texts()[0].get_text().replace("\\", "") or "rose" in names


def test_an_unknown_method_is_refused(
    spotter: keras.Model, spots: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(ConfigError, match="`method` must be one of"):
        feature_map(spotter, spots, method="umap")


def _blend(color: tuple[float, ...]) -> np.ndarray:
    """Return the colour that a pixel of the figure has on a dark page, from 0 to 1."""
    figure = Figure(figsize=(1, 1), facecolor=color)
    pixels = np.asarray(Image.open(io.BytesIO(encode_dark(figure, rasterize(figure)))))
    return pixels[75, 75, :3] / 255


def _contrast(color: np.ndarray, paper: tuple[float, ...]) -> float:
    """Return the contrast of two colours by WCAG 2."""

    def luminance(rgb: np.ndarray) -> float:
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted([luminance(color), luminance(np.asarray(paper))])
    return (high + 0.05) / (low + 0.05)


def test_twenty_classes_have_colours_of_their_own_that_show_on_light_and_dark_pages() -> None:
    features = np.random.default_rng(0).normal(size=(60, 5))
    figure = draw_map(features, np.arange(60) % 30, [f"class {n}" for n in range(30)])
    points = figure.axes[0].collections
    colors = [tuple(each.get_facecolor()[0][:3]) for each in points]
    assert len(set(colors[:20])) == 20
    shapes = [each.get_paths()[0].vertices.tobytes() for each in points]
    assert len(set(zip(colors, shapes, strict=True))) == 30
    for color in colors[:20]:
        assert _contrast(np.array(color), (1, 1, 1)) >= 3
        assert _contrast(_blend(color), (21 / 255, 23 / 255, 27 / 255)) >= 2.95  # rounded
