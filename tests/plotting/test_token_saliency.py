import keras
import numpy as np
import pytest
from tests.tokens import hub_backbone, make_spots, plain_vit

import tlkit
from tlkit.plotting import grad_cam


def _spotter(pooling: str) -> keras.Model:
    """A classifier whose tokens are the brightness of patches, and whose head reads it."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(2, 4, 4, kernel_initializer="ones", name="patches")(image)
    tokens = keras.layers.Reshape((16, 2), name="tokens")(x)
    backbone = keras.Model(image, tokens, name="bright")
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), pooling=pooling)
    model.get_layer("logits").set_weights([np.eye(2, dtype="float32"), np.zeros(2)])
    return model


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_the_evidence_lies_where_the_class_is_seen(pooling: str) -> None:
    images = np.zeros((1, 16, 16, 3), "uint8")
    images[0, 4:8, 8:12] = 255
    heat = grad_cam(_spotter(pooling), images, np.array([0]))[0]
    assert heat.shape == (16, 16)
    assert heat[5:7, 9:11].min() > 0.8
    assert heat[12:].max() == heat[:, :4].max() == 0


@pytest.mark.parametrize("name", ["plain", "vit", "siglip", "deit"])
def test_a_head_that_reads_no_patch_is_explained_by_the_last_attention(name: str) -> None:
    backbone = plain_vit() if name == "plain" else hub_backbone(name)
    model = tlkit.build_classifier(backbone, 3, pixels=(0, 1), seed=0)
    images, labels = make_spots(4)
    heat = grad_cam(model, images, labels)
    assert heat.shape == (4, 16, 16)
    assert heat.max() == 1
    assert np.ptp(heat.reshape(4, -1), axis=1).max() > 0.1
