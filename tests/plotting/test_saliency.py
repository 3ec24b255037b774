import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tlkit
from tlkit.errors import ConfigError
from tlkit.models import flat_graph
from tlkit.plotting import feature_map, grad_cam, grad_cam_grid, saliency_maps


def test_the_evidence_lies_where_the_class_is_seen(spotter: keras.Model) -> None:
    images = np.zeros((2, 16, 16, 3), "uint8")
    images[0, 2:6, 8:12] = 255
    images[1, 12:, :4] = 200
    heat = grad_cam(spotter, images, np.array([0, 0]))
    assert heat.shape == (2, 16, 16)
    assert (heat[0, 3:5, 9:11] > 0.9).all()
    assert heat[0, 10:].max() == heat[0, :, :4].max() == 0
    assert heat[1, 13:15, 1:3].min() > 0.9
    assert grad_cam(spotter, images, np.array([1, 1])).max() == 0


def test_the_predicted_class_is_explained_by_default(spotter: keras.Model) -> None:
    images = np.full((1, 16, 16, 3), 90, "uint8")
    np.testing.assert_array_equal(
        grad_cam(spotter, images), grad_cam(spotter, images, np.array([0]))
    )


def test_each_layer_that_the_head_reads_can_be_explained(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(
        small_backbone, 3, pixels=(0, 1), features=["block_1_add", "block_2_add"], seed=0
    )
    images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), "uint8")
    last = grad_cam(model, images)
    first = grad_cam(model, images, layer="block_1_add")
    assert last.shape == first.shape == (70, 16, 16)
    assert np.abs(last - first).max() > 0.1
    np.testing.assert_array_equal(last, grad_cam(model, images, layer="block_2_add"))
    with pytest.raises(ConfigError, match=r"\['block_1_add', 'block_2_add'\], got 'top_conv'"):
        grad_cam(model, images, layer="top_conv")


def _panels(figure: Figure) -> list[Any]:
    return [panel for panel in figure.axes if panel.images and not panel.get_xlabel()]


def test_half_of_the_grid_are_the_most_confident_errors(
    spotter: keras.Model, spots: tuple[np.ndarray, np.ndarray]
) -> None:
    figure = grad_cam_grid(spotter, spots, count=4, columns=4)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    wrong = [title for title in titles if "WRONG" in title]
    assert titles[:2] == wrong
    assert all(title.startswith("true dark\nWRONG: bright") for title in wrong)
    assert all(title.startswith("true bright\ncorrect (") for title in titles[2:])
    brightest = [panel.images[0].get_array().max() for panel in _panels(figure)[:2]]
    np.testing.assert_allclose(brightest, [250 / 255, 180 / 255])  # the most confident first
    assert len(titles) == 4


@pytest.mark.parametrize(("labels", "errors"), [([0, 0, 0, 0, 1], 1), ([1, 1, 1, 1, 0], 3)])
def test_if_there_are_few_errors_or_few_others_more_of_the_rest_are_drawn(
    spotter: keras.Model, spots: tuple[np.ndarray, np.ndarray], labels: list[int], errors: int
) -> None:
    figure = grad_cam_grid(spotter, (spots[0], np.array(labels)), count=4)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert (len(titles), sum("WRONG" in title for title in titles)) == (4, errors)


def test_an_overlay_is_visible_on_black_and_brighter_with_more_evidence(
    spotter: keras.Model,
) -> None:
    images = np.zeros((2, 16, 16, 3), "uint8")
    images[:, 4:8, 4:8] = 1  # almost black
    figure = grad_cam_grid(spotter, (images, np.array([1, 1])), count=1)
    _, overlay = (panel.images[0].get_array() for panel in _panels(figure))
    assert overlay.max(axis=-1)[5, 5] > 0.5  # also where the image is black
    assert overlay[5, 5].mean() > 1.5 * overlay[12, 12].mean()
    [scale] = [panel for panel in figure.axes if panel.get_xlabel()]
    shades = scale.images[0].get_array()[0].mean(axis=-1)
    assert (np.diff(shades) > 0).all()  # brighter to the right, so readable in grey
    assert [tick.get_text() for tick in scale.get_xticklabels()] == ["0", "0.5", "1"]


def test_explaining_gives_no_warning(
    spotter: keras.Model, spots: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    tlkit.save(spotter, tmp_path / "model.keras")
    for model in (spotter, tlkit.load(tmp_path / "model.keras")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            grad_cam(model, spots[0])
            feature_map(model, spots)


def test_maps_of_a_single_position_are_refused() -> None:
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(2, 16)(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
    with pytest.raises(
        ConfigError, match="at least 2 positions, got 1 x 1 from images of 16 x 16 pixels"
    ):
        grad_cam(model, np.zeros((1, 16, 16, 3), "uint8"))


def _coarse(side: int = 8) -> keras.Model:
    """A classifier of bright spots that pools 8 x 8 maps to 4 x 4, with a residual connection."""
    inputs = keras.Input((side, side, 3))
    bright = keras.layers.Conv2D(2, 1, use_bias=False, name="bright")(inputs)
    inner = keras.layers.Conv2D(2, 1, kernel_initializer="zeros", name="inner")(bright)
    added = keras.layers.Add(name="added")([bright, inner])
    padded = keras.layers.ZeroPadding2D(2, name="padded")(added)
    backbone = keras.Model(inputs, keras.layers.MaxPooling2D(3, name="maps")(padded))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), class_names=["bright", "dark"])
    backbone.get_layer("bright").kernel.assign(np.full((1, 1, 3, 2), 1 / 3))
    model.get_layer("logits").kernel.assign([[1.0, -1.0], [1.0, -1.0]])
    return model


def test_coarse_maps_are_replaced_by_the_last_finer_ones() -> None:
    images = np.zeros((1, 8, 8, 3), "uint8")
    images[0, 1, 1] = 255
    heat = grad_cam(_coarse(), images, np.array([0]))[0]
    assert heat[1, 1] == 1
    assert np.delete(heat.ravel(), 9).max() == 0
    coarse = grad_cam(_coarse(), images, np.array([0]), layer="maps")[0]
    assert (coarse[2:4, 2:4] > 0.3).all()  # half a cell off, where the padded maps are stretched


def test_maps_of_a_much_earlier_layer_are_not_used() -> None:
    inputs = keras.Input((12, 12, 3))
    early = keras.layers.Conv2D(2, 1, name="early")(inputs)  # 12 x 12, four times as fine as 3 x 3
    model = tlkit.build_classifier(
        keras.Model(inputs, keras.layers.MaxPooling2D(4, name="maps")(early)), 2, pixels=(0, 1)
    )
    images = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3), "uint8")
    assert saliency_maps.prepare(model, images, np.array([0]), None).grid == (3, 3)


def test_the_finer_maps_decide_everything_after_them() -> None:
    model = _coarse()
    images = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), "uint8")
    graph = flat_graph.flatten(model)
    names = [step.operation.name for step in saliency_maps._list_bottlenecks(graph, graph.steps)]
    assert names[:4] == ["bright", "added", "padded", "maps"]  # not "inner"
    halves = saliency_maps.prepare(model, images, np.array([0]), None).compute.args[0]
    maps = halves.before(images, training=False)
    assert len(maps) == 1  # no other tensor crosses, so that the gradient counts all ways
    logits = keras.Model(model.input, model.get_layer("logits").output)(images)
    np.testing.assert_allclose(halves.after(maps, training=False)[0], logits, rtol=1e-6)


@pytest.mark.parametrize(("side", "words"), [(12, "12 x 12"), (24, "6 x 6")])
def test_a_figure_of_few_cells_says_how_large_they_are(side: int, words: str) -> None:
    inputs = keras.Input((side, side, 3))
    bright = keras.layers.Conv2D(2, 1, strides=side // 6 if side == 24 else 1)(inputs)
    model = tlkit.build_classifier(keras.Model(inputs, bright), 2, pixels=(0, 1), seed=0)
    images = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), "uint8")
    figure = grad_cam_grid(model, (images, np.array([0, 1, 0, 1])), count=2)
    [label] = [panel.get_xlabel() for panel in figure.axes if panel.get_xlabel()]
    assert label.startswith("evidence for the predicted class")
    assert ("6 x 6 cells, each of 4 x 4 pixels" in label) == (words == "6 x 6")
