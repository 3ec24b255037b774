import keras
import numpy as np
import pytest

import tlkit
from tlkit import freezing
from tlkit.caching import partition
from tlkit.caching.partition import Cut, NoFrozenPart
from tlkit.errors import ConfigError
from tlkit.models.flat_graph import Part

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 1), "uint8")


def _cut(
    model: keras.Model, select: freezing.Select, *, batchnorm: str = "frozen", **options: object
) -> Cut:
    plan = freezing.plan(tlkit.models.backbone_of(model), select, batchnorm=batchnorm)
    model.trainable = True
    freezing.apply(plan)
    return partition.find_cut(model, plan, IMAGES, **options)  # type: ignore[arg-type]


def _classifier(backbone: keras.Model, **options: object) -> keras.Model:
    return tlkit.build_classifier(
        backbone, 3, input_shape=(9, 9, 1), image_size=16, pixels=(0, 1), **options
    )


def _joined(cut: Cut, model: keras.Model) -> np.ndarray:
    images = keras.ops.cast(IMAGES, model.inputs[0].dtype)
    trunk = Part(cut.trunk, cut.graph.inputs, cut.tensors, name="trunk")
    tail = Part(cut.tail, cut.tensors, cut.graph.outputs, name="tail")
    return np.asarray(tail(trunk(images, training=False), training=False)[0])


@pytest.mark.parametrize("count", range(1, 11))
def test_both_parts_give_what_the_whole_gives_wherever_it_is_cut(
    small_backbone: keras.Model, count: int
) -> None:
    model = _classifier(small_backbone)
    expected = model.predict(IMAGES, verbose=0)
    if count == 1:  # the input layer alone: nothing frozen has weights
        with pytest.raises(NoFrozenPart):
            _cut(model, freezing.first(count))
        return
    cut = _cut(model, freezing.first(count))
    np.testing.assert_allclose(_joined(cut, model), expected, rtol=1e-5, atol=1e-6)
    assert not {id(step) for step in cut.trunk} & {id(step) for step in cut.tail}


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        "resnet50",
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_known_backbones_are_cut_right(name: str, share: float) -> None:
    keras.utils.set_random_seed(0)
    model = tlkit.build_classifier(name, 3, input_shape=(9, 9, 1), image_size=32, weights=None)
    cut = _cut(model, freezing.first_fraction(share))
    assert cut.trunk
    np.testing.assert_allclose(_joined(cut, model), model(IMAGES), rtol=1e-3, atol=1e-4)


def test_a_skip_connection_across_the_cut_makes_two_tensors_cross(
    small_backbone: keras.Model,
) -> None:
    cut = _cut(_classifier(small_backbone), freezing.first(4), after="block_1_conv")
    assert len(cut.tensors) == 2
    assert cut.reason == "caching after block_1_conv, as `cut` asks"


def test_cutting_adds_no_node_to_a_layer(small_backbone: keras.Model) -> None:
    model = _classifier(small_backbone)
    before = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    for _ in range(3):
        _joined(_cut(model, freezing.first(6)), model)
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == before


def test_the_smallest_tensors_are_kept_where_little_is_run_again() -> None:
    model = tlkit.build_classifier(
        tlkit.models.backbones.create("mobilenet_v2", image_size=32, weights=None),
        10,
        input_shape=(9, 9, 1),
        pixels=(0, 1),
    )
    cut = _cut(model, freezing.first(100))
    assert cut.reason.startswith("caching after block_10_project_BN: 7x smaller; ")
    assert cut.shapes == ((2, 2, 96),)
    assert cut.bytes_per_image == 4 * 384
    whole = _cut(model, freezing.everything)
    assert whole.reason == "caching after pooling, where training starts"
    assert cut.is_within(whole)
    assert not whole.is_within(cut)
    steps, tensors = partition.merge_trunks([whole, cut])
    assert len(steps) == len(whole.trunk)
    assert tensors == (*whole.tensors, *cut.tensors)


def test_a_loaded_model_is_cut_alike(small_backbone: keras.Model, tmp_path: object) -> None:
    model = _classifier(small_backbone)
    tlkit.save(model, f"{tmp_path}/model.keras")
    loaded = tlkit.load(f"{tmp_path}/model.keras")
    one, other = (_cut(each, freezing.first(6)) for each in (model, loaded))
    assert one.reason == other.reason
    np.testing.assert_allclose(_joined(one, model), _joined(other, loaded), rtol=1e-6)


def _with_front(small_backbone: keras.Model, layer: keras.Layer) -> keras.Model:
    """A classifier as a user would build it, with a layer before the backbone."""
    inputs = keras.Input((9, 9, 1))
    rgb = tlkit.GrayToRGBResize(16)(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(small_backbone(layer(rgb)))
    logits = keras.layers.Dense(3)(pooled)
    return keras.Model(inputs, tlkit.models.ClassProbabilities(["a", "b", "c"])(logits))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (keras.layers.RandomFlip(name="flip"), "'flip' is random"),
        (keras.layers.GaussianNoise(0.1, name="noise"), "'noise' is random"),
        (keras.layers.Dropout(0.1, name="drop"), "'drop' is random"),
    ],
)
def test_a_random_layer_before_the_backbone_stands_in_the_way(
    small_backbone: keras.Model, layer: keras.Layer, words: str
) -> None:
    with pytest.raises(NoFrozenPart, match=words):
        _cut(_with_front(small_backbone, layer), freezing.everything)


def test_views_take_a_random_layer_into_the_trunk(small_backbone: keras.Model) -> None:
    model = _with_front(small_backbone, keras.layers.RandomFlip(name="flip"))
    assert _cut(model, freezing.everything, views=True).random_layers == ("flip",)


def test_dropout_inside_the_frozen_backbone_is_switched_off_and_named() -> None:
    model = tlkit.build_classifier(
        "efficientnet_b0", 3, input_shape=(9, 9, 1), image_size=32, weights=None
    )
    cut = _cut(model, freezing.everything)
    assert cut.disabled_layers[:2] == ("block2b_drop", "block3b_drop")
    assert cut.random_layers == ()


def test_noise_inside_the_backbone_ends_the_trunk() -> None:
    backbone = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, 8, name="first"),
            keras.layers.GaussianNoise(0.1, name="noise"),
            keras.layers.Conv2D(4, 1, name="second"),
        ]
    )
    cut = _cut(_classifier(backbone), freezing.everything)
    assert [step.operation.name for step in cut.trunk][-1] == "first"


def test_batchnorm_that_trains_ends_the_trunk(small_backbone: keras.Model) -> None:
    plan_all_but = freezing.all_but(freezing.matching("block_1_bn"))
    cut = _cut(_classifier(small_backbone), plan_all_but, batchnorm="train")
    assert "block_1_bn" not in [step.operation.name for step in cut.trunk]
    assert "block_2_conv" not in [step.operation.name for step in cut.trunk]


def test_nothing_frozen_first_is_said(small_backbone: keras.Model) -> None:
    with pytest.raises(NoFrozenPart, match="no frozen layer comes before 'stem', which is trained"):
        _cut(_classifier(small_backbone), freezing.nothing)


def test_an_unknown_place_is_an_error(small_backbone: keras.Model) -> None:
    with pytest.raises(ConfigError, match="`cut` must be .* got 'block_1_ad'. Did you mean"):
        _cut(_classifier(small_backbone), freezing.first(6), after="block_1_ad")


def test_a_place_behind_what_is_trained_is_an_error(small_backbone: keras.Model) -> None:
    with pytest.raises(ConfigError, match="`cut` must be .* got 'top_bn'"):
        _cut(_classifier(small_backbone), freezing.first(6), after="top_bn")
