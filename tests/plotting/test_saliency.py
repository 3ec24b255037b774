import io
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tlkit
from tlkit.errors import ConfigError
from tlkit.plotting import saliency


@pytest.fixture
def spotter() -> keras.Model:
    """A classifier whose first class is brightness anywhere, its second darkness."""
    inputs = keras.Input((16, 16, 3))
    bright = keras.layers.Conv2D(2, 1, use_bias=False, name="bright")(inputs)
    backbone = keras.Model(inputs, keras.layers.MaxPooling2D(2, name="maps")(bright))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), class_names=["bright", "dark"])
    backbone.get_layer("bright").kernel.assign(np.full((1, 1, 3, 2), 1 / 3))
    model.get_layer("logits").kernel.assign([[1.0, -1.0], [1.0, -1.0]])
    return model


def test_the_evidence_lies_where_the_class_is(spotter: keras.Model) -> None:
    images = np.zeros((2, 16, 16, 3), "uint8")
    images[0, 2:6, 8:12] = 255
    images[1, 12:, :4] = 200
    heat = saliency.grad_cam(spotter, images, np.array([0, 0]))
    assert heat.shape == (2, 16, 16)
    assert (heat[0, 3:5, 9:11] > 0.9).all()
    assert heat[0, 10:].max() == heat[0, :, :4].max() == 0
    assert heat[1, 13:15, 1:3].min() > 0.9
    assert saliency.grad_cam(spotter, images, np.array([1, 1])).max() == 0


def test_without_classes_it_explains_what_was_called(spotter: keras.Model) -> None:
    images = np.full((1, 16, 16, 3), 90, "uint8")
    np.testing.assert_array_equal(
        saliency.grad_cam(spotter, images), saliency.grad_cam(spotter, images, np.array([0]))
    )


def test_a_backbone_read_at_several_layers_explains_each(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(
        small_backbone, 3, pixels=(0, 1), features=["block_1_add", "block_2_add"], seed=0
    )
    images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), "uint8")
    last = saliency.grad_cam(model, images)
    first = saliency.grad_cam(model, images, layer="block_1_add")
    assert last.shape == first.shape == (70, 16, 16)
    assert np.abs(last - first).max() > 0.1
    np.testing.assert_array_equal(last, saliency.grad_cam(model, images, layer="block_2_add"))
    with pytest.raises(ConfigError, match=r"\['block_1_add', 'block_2_add'\], got 'top_conv'"):
        saliency.grad_cam(model, images, layer="top_conv")


def _panels(figure: Figure) -> list[Any]:
    return [panel for panel in figure.axes if panel.images and not panel.get_ylabel()]


def _shades() -> tuple[np.ndarray, np.ndarray]:
    """Five images for `spotter`: it says bright of all, and is right about the first and third."""
    images = np.zeros((5, 16, 16, 3), "uint8")
    images[:, 4:8, 4:8] = np.array([40, 60, 120, 180, 250], "uint8")[:, None, None, None]
    return images, np.array([0, 1, 0, 1, 1])


def test_half_of_the_grid_are_the_surest_errors_and_half_is_right(spotter: keras.Model) -> None:
    figure = saliency.grad_cam_grid(spotter, _shades(), count=4, columns=4)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    wrong = [title for title in titles if "WRONG" in title]
    assert titles[:2] == wrong
    assert all(title.startswith("true dark\nWRONG: bright") for title in wrong)
    assert all(title.startswith("true bright\npredicted") for title in titles[2:])
    brightest = [panel.images[0].get_array().max() for panel in _panels(figure)[:2]]
    np.testing.assert_allclose(brightest, [250 / 255, 180 / 255])  # the surest first
    assert len(titles) == 4


@pytest.mark.parametrize(("labels", "errors"), [([0, 0, 0, 0, 1], 1), ([1, 1, 1, 1, 0], 3)])
def test_where_a_kind_is_rare_there_is_more_of_the_other(
    spotter: keras.Model, labels: list[int], errors: int
) -> None:
    figure = saliency.grad_cam_grid(spotter, (_shades()[0], np.array(labels)), count=4)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert (len(titles), sum("WRONG" in title for title in titles)) == (4, errors)


def test_the_overlay_is_seen_on_black_and_gets_brighter_with_the_evidence(
    spotter: keras.Model,
) -> None:
    images = np.zeros((2, 16, 16, 3), "uint8")
    images[:, 4:8, 4:8] = 1  # a photo that is all but black
    figure = saliency.grad_cam_grid(spotter, (images, np.array([1, 1])), count=1)
    _, overlay = (panel.images[0].get_array() for panel in _panels(figure))
    assert overlay.max(axis=-1).min() > 0.1  # seen everywhere, also where the photo is black
    assert overlay[5, 5].mean() > 1.5 * overlay[12, 12].mean()
    [scale] = [panel for panel in figure.axes if panel.get_ylabel()]
    shades = scale.images[0].get_array()[:, 0].mean(axis=-1)
    assert (np.diff(shades) > 0).all()  # brighter upwards: readable in grey
    assert [tick.get_text() for tick in scale.get_yticklabels()] == ["0", "0.5", "1"]


def test_keras_has_nothing_to_warn_of(spotter: keras.Model, tmp_path: Path) -> None:
    tlkit.save(spotter, tmp_path / "model.keras")
    for model in (spotter, tlkit.load(tmp_path / "model.keras")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            saliency.grad_cam(model, _shades()[0])
            saliency.feature_map(model, _shades())


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_images_that_look_alike_lie_close(spotter: keras.Model, method: str) -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.integers(0, 20, 30), random.integers(230, 250, 30)])
    images = np.broadcast_to(values[:, None, None, None], (60, 16, 16, 3)).astype("uint8")
    figure = saliency.feature_map(spotter, (images, (values < 100).astype(int)), method=method)
    named = {"pca": "PCA", "tsne": "t-SNE"}[method]
    assert figure.axes[0].get_title() == f"60 images, features by {named}"
    assert ("of variance" in figure.axes[0].get_xlabel()) == (method == "pca")
    bright, dark = (np.asarray(each.get_offsets()) for each in figure.axes[0].collections)
    assert len(bright) == len(dark) == 30
    apart = np.linalg.norm(bright.mean(axis=0) - dark.mean(axis=0))
    assert apart > 2 * max(np.std(bright, axis=0).max(), np.std(dark, axis=0).max())


def test_what_is_wrong_is_told(spotter: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.zeros((2, 16, 16, 3), "uint8")
    with pytest.raises(ConfigError, match="`method` must be one of"):
        saliency.feature_map(spotter, (images, np.array([0, 1])), method="umap")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="needs Keras on TensorFlow, got 'jax'"):
        saliency.grad_cam(spotter, images)


def test_the_map_stops_reading_when_its_time_is_over(spotter: keras.Model) -> None:
    images, labels = np.zeros((200, 16, 16, 3), "uint8"), np.arange(200) % 2
    images[:, 0, 0, 0] = range(200)
    drawn = [
        saliency.feature_map(spotter, (images, labels), seconds=seconds).axes[0].get_title()
        for seconds in (0, None)
    ]
    assert drawn == ["64 images, features by PCA", "200 images, features by PCA"]


def test_a_map_of_one_place_explains_nothing() -> None:
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(2, 16)(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
    with pytest.raises(ConfigError, match="at least 2 places, got 1 x 1: 16 x 16 pixels are too"):
        saliency.grad_cam(model, np.zeros((1, 16, 16, 3), "uint8"))


@pytest.mark.parametrize(
    "names", [["rose", "lily"], ["a name as long as $5 " * 2, "an even longer " * 4]]
)
def test_the_legend_stays_within_the_figure(names: list[str]) -> None:
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), class_names=names)
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    figure = saliency.feature_map(model, (images, np.arange(8) % 2))
    figure.savefig(io.BytesIO())
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert "$5" in figure.legends[0].get_texts()[0].get_text().replace("\\", "") or "rose" in names
