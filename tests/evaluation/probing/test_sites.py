import keras
import numpy as np

import tlkit
from tlkit.evaluation.probing.sites import find_sites


def test_mobilenet_v2_is_read_after_each_projection_or_addition() -> None:
    model = tlkit.build_classifier(
        "mobilenet_v2", 10, image_size=32, weights=None, backbone_options={"alpha": 0.35}
    )
    images = np.zeros((12, 32, 32, 3), "uint8")
    found, _ = find_sites(model, images, 1024)
    names = list(dict.fromkeys(site.layer for site in found))
    assert names[:4] == [
        "expanded_conv_project_BN", "block_1_project_BN", "block_2_add", "block_3_project_BN"
    ]  # fmt: skip
    assert names[-1] == "out_relu"
    assert len(names) == 18


def _site_layers(backbone: keras.Model) -> list[str]:
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 255))
    found, _ = find_sites(model, np.zeros((1, *backbone.input_shape[1:]), "uint8"), 64)
    return list(dict.fromkeys(site.layer for site in found))


def _application(name: str) -> keras.Model:
    make = getattr(keras.applications, name)
    return make(weights=None, include_top=False, input_shape=(64, 64, 3))


def test_a_block_of_vgg_ends_with_its_pooling() -> None:
    assert _site_layers(_application("VGG16")) == [f"block{number}_pool" for number in range(1, 6)]


def test_resnet_is_read_after_its_stem_and_each_block() -> None:
    depths = {2: 3, 3: 4, 4: 6, 5: 3}
    ends = [f"conv{stage}_block{n + 1}_out" for stage in depths for n in range(depths[stage])]
    assert _site_layers(_application("ResNet50")) == ["pool1_pool", *ends]


def test_no_gate_padding_or_normalisation_of_efficientnet_is_read() -> None:
    found = _site_layers(_application("EfficientNetB0"))
    assert len(found) == 17  # sixteen blocks and the top
    assert all(name.endswith(("_project_bn", "_add")) for name in found[:-1])
    assert found[-1] == "top_activation"


def test_a_residual_block_ends_even_if_the_next_layer_returns_as_many_numbers() -> None:
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.Add(name="end")([x, keras.layers.Conv2D(4, 3, padding="same")(x)])
    x = keras.layers.Conv2D(16, 3, 2, padding="same", name="inside")(x)
    backbone = keras.Model(inputs, keras.layers.Conv2D(8, 1, name="last")(x))
    assert _site_layers(backbone)[1:] == ["end", "last"]


def test_a_dense_block_is_read_at_its_end_only() -> None:
    found = _site_layers(_application("DenseNet121"))
    assert found == [
        "pool1",
        *(f"pool{n}_{what}" for n in (2, 3, 4) for what in ("relu", "pool")),
        "relu",
    ]


def test_the_branches_of_convnext_are_not_read() -> None:
    found = _site_layers(_application("ConvNeXtTiny"))
    assert not any(name.endswith("_identity") for name in found)
    assert found[0].endswith("stem")
    assert [name.rsplit("_", 2)[-2:] for name in found[1:4]] == [["block", n] for n in "012"]


def test_a_backbone_of_nested_blocks_is_read_after_each_block() -> None:
    blocks = [
        keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.MaxPooling2D()], name="one"),
        keras.Sequential([keras.layers.Conv2D(32, 3, padding="same")], name="two"),
    ]
    assert _site_layers(keras.Sequential([keras.Input((16, 16, 3)), *blocks])) == ["one", "two"]
