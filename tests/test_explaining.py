import keras
import numpy as np
import pytest

import tlkit
from tlkit import explaining
from tlkit.errors import ConfigError


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
    heat = explaining.grad_cam(spotter, images, np.array([0, 0]))
    assert heat.shape == (2, 16, 16)
    assert (heat[0, 3:5, 9:11] > 0.9).all()
    assert heat[0, 10:].max() == heat[0, :, :4].max() == 0
    assert heat[1, 13:15, 1:3].min() > 0.9
    assert explaining.grad_cam(spotter, images, np.array([1, 1])).max() == 0


def test_without_classes_it_explains_what_was_called(spotter: keras.Model) -> None:
    images = np.full((1, 16, 16, 3), 90, "uint8")
    np.testing.assert_array_equal(
        explaining.grad_cam(spotter, images), explaining.grad_cam(spotter, images, np.array([0]))
    )


def test_a_backbone_read_at_several_layers_explains_each(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(
        small_backbone, 3, pixels=(0, 1), features=["block_1_add", "block_2_add"], seed=0
    )
    images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), "uint8")
    last = explaining.grad_cam(model, images)
    first = explaining.grad_cam(model, images, layer="block_1_add")
    assert last.shape == first.shape == (70, 16, 16)
    assert np.abs(last - first).max() > 0.1
    np.testing.assert_array_equal(last, explaining.grad_cam(model, images, layer="block_2_add"))
    with pytest.raises(ConfigError, match=r"\['block_1_add', 'block_2_add'\], got 'top_conv'"):
        explaining.grad_cam(model, images, layer="top_conv")


def test_the_grid_shows_the_most_wrong_first(spotter: keras.Model) -> None:
    images = np.zeros((4, 16, 16, 3), "uint8")
    images[1:] = np.array([60, 120, 250], "uint8")[:, None, None, None]
    figure = explaining.grad_cam_grid(spotter, images, np.array([0, 1, 1, 1]), count=2)
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == ["true dark\ncalled bright"] * 2
    shown = [panel.images[0].get_array() for panel in figure.axes if panel.images]
    np.testing.assert_allclose(shown[0], 250 / 255, atol=1e-6)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_images_that_look_alike_lie_close(spotter: keras.Model, method: str) -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.integers(0, 20, 30), random.integers(230, 250, 30)])
    images = np.broadcast_to(values[:, None, None, None], (60, 16, 16, 3)).astype("uint8")
    figure = explaining.feature_map(spotter, images, (values < 100).astype(int), method=method)
    bright, dark = (np.asarray(each.get_offsets()) for each in figure.axes[0].collections)
    assert len(bright) == len(dark) == 30
    apart = np.linalg.norm(bright.mean(axis=0) - dark.mean(axis=0))
    assert apart > 2 * max(np.std(bright, axis=0).max(), np.std(dark, axis=0).max())


def test_what_is_wrong_is_told(spotter: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.zeros((2, 16, 16, 3), "uint8")
    with pytest.raises(ConfigError, match="`method` must be one of"):
        explaining.feature_map(spotter, images, [0, 1], method="umap")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="needs Keras on TensorFlow, got 'jax'"):
        explaining.grad_cam(spotter, images)
