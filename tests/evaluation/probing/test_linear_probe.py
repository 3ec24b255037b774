import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit import sources
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.probing import cross_validation, linear_probe, sites


def _stripes(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Make images whose class is the place of a bright stripe: gone once maps are averaged."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, 16, 16, 3), "uint8")
    for image, label in zip(images, labels, strict=True):
        image[4 + 3 * label : 6 + 3 * label] += 150  # no edge sees it, which would tell the place
    return images, labels


def _model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    early = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="early")(inputs)
    wide = keras.layers.Conv2D(16, 3, padding="same", name="wide")(early)
    late = keras.layers.GlobalAveragePooling2D(name="late")(wide)
    return tlkit.build_classifier(keras.Model(inputs, late), 3, pixels=(0, 1))


@pytest.mark.parametrize("solver", ["ridge", "lbfgs"])
def test_the_place_where_the_answer_still_is_is_found(solver: str) -> None:
    probe = tlkit.probe(_model(), _stripes(), solver=solver)
    found = {(each.layer, each.pooling): each for each in probe.layers}
    assert set(found) == {("early", "avg"), ("early", "flatten"), ("late", "avg")}
    assert found["early", "flatten"].accuracy == 1.0
    assert found["late", "avg"].accuracy < 0.7
    assert probe.chosen.layer == "early"
    assert found["early", "avg"].num_parameters == 3 * 3 * 3 * 4 + 4
    assert found["early", "avg"].multiply_adds == 16 * 16 * 3 * 3 * 3 * 4
    assert found["early", "flatten"].num_features == 16 * 16 * 4
    assert (probe.num_fitted, probe.num_scored, probe.engine) == (300, 300, "keras")
    assert "early" in str(probe)
    assert "chosen" in str(probe)


@pytest.mark.parametrize("solver", ["ridge", "lbfgs"])
def test_no_image_is_scored_by_a_head_that_has_seen_it(solver: str) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (300, 16, 16, 3), "uint8"), random.integers(0, 2, 300)
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(4, 1, name="all")(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
    probe = tlkit.probe(model, noise, solver=solver)  # 1,024 features learn 300 labels by heart
    assert probe.best.accuracy < 0.65


def test_no_image_is_scored_by_a_head_that_has_seen_another_of_its_group() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (150, 16, 16, 3), "uint8")
    images, labels = np.concatenate([images] * 2), np.tile(random.integers(0, 2, 150), 2)
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(4, 1, name="all")(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), class_names=["a", "b"])
    accuracies = [
        tlkit.probe(
            model, sources.from_arrays(images, labels, class_names="ab", groups=groups)
        ).best.accuracy
        for groups in ((), np.arange(300) % 150)
    ]
    assert accuracies[0] > 0.8
    assert accuracies[1] < 0.65


def test_a_model_is_left_as_it_was() -> None:
    model = _model()
    before = model.get_weights()
    nodes = [len(layer._inbound_nodes) for layer in tlkit.models.backbone_of(model).layers]
    tlkit.probe(model, _stripes())
    assert nodes == [len(layer._inbound_nodes) for layer in tlkit.models.backbone_of(model).layers]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_cheapest_within_one_standard_error_is_chosen() -> None:
    def probed(layer: str, work: int, accuracy: float) -> tlkit.evaluation.ProbedLayer:
        return tlkit.evaluation.ProbedLayer(
            layer=layer,
            pooling="avg",
            num_features=4,
            multiply_adds=work,
            num_parameters=1,
            accuracy=accuracy,
        )

    layers = (probed("a", 1, 0.80), probed("b", 2, 0.89), probed("c", 3, 0.90))
    probe = tlkit.evaluation.Probe(
        layers=layers, solver="ridge", num_fitted=1, num_scored=100, engine="keras", seconds=0.0
    )
    assert (probe.best.layer, probe.chosen.layer) == ("c", "b")
    assert probe.standard_error == pytest.approx(0.03)


def test_a_dataset_gives_what_its_arrays_give() -> None:
    images, labels = _stripes()

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(30 * index, 30 * index + 30)
            return images[rows], labels[rows]

    probe = tlkit.probe(_model(), Batches(), validation_data=(images[:50], labels[:50]))
    assert (probe.num_fitted, probe.num_scored) == (300, 50)
    assert probe.chosen.layer == "early"


def test_ridge_keeps_features_of_a_few_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_validation, "MAX_SCORED", 40)
    probe = tlkit.probe(_model(), _stripes(), sample=None)
    assert (probe.num_fitted, probe.num_scored) == (300, 40)
    assert probe.chosen.layer == "early"


def _two_signs(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Make images whose class needs two layers: the place of a stripe, and how bright all is."""
    random = np.random.default_rng(0)
    places, levels = random.integers(0, 2, count), random.integers(0, 2, count)
    images = random.integers(0, 30, (count, 16, 16, 3)).astype("uint8")
    for image, place, level in zip(images, places, levels, strict=True):
        image[4 + 6 * place : 6 + 6 * place] += 100
        image += (40 * level).astype("uint8")
    return images, 2 * places + levels


def test_layers_are_read_together_where_that_helps() -> None:
    inputs = keras.Input((16, 16, 3))
    keras.utils.set_random_seed(0)
    place = keras.layers.Conv2D(4, 1, name="seen_first")(inputs)
    flat = keras.layers.LayerNormalization(axis=(1, 2, 3), name="no_level")(place)
    wide = keras.layers.Conv2D(8, 1, name="late")(flat)
    backbone = keras.Model(inputs, wide)
    model = tlkit.build_classifier(backbone, 4, pixels=(0, 1))
    probe = tlkit.probe(model, _two_signs(), max_layers=3, max_features=64)
    assert probe.joint_accuracy >= probe.best.accuracy
    assert set(probe.joint) <= set(probe.layers)
    assert len({each.layer for each in probe.joint}) == len(probe.joint)
    alone = tlkit.probe(model, _two_signs(), max_features=64)
    assert alone.joint == (alone.best,)
    built = tlkit.build_classifier(
        backbone,
        4,
        pixels=(0, 1),
        features=linear_probe.select_features(_two_signs(), max_layers=3),
    )
    assert built.predict(_two_signs(4)[0], verbose=0).shape == (4, 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver": "lbfgs"}, "`solver` must be 'ridge' where `max_layers` is 2"),
        (
            {"validation_data": _stripes(30)},
            "`validation_data` must be left out where `max_layers` is 2",
        ),
    ],
)
def test_joining_layers_has_its_conditions(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tlkit.probe(_model(), _stripes(), max_layers=2, **settings)


def test_auto_builds_on_what_probes_best() -> None:
    images, labels = _stripes()
    backbone = tlkit.models.backbone_of(_model())
    model = tlkit.build_classifier(
        backbone, 3, pixels=(0, 1), features=linear_probe.select_features((images, labels))
    )
    assert [layer.name for layer in tlkit.models.backbone_of(model).layers][-1] == "early"
    assert model.get_layer("logits").input.shape == (None, 1024)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"solver": "svm"}, ConfigError, "`solver` must be one of"),
        ({"sample": 3}, ConfigError, "`sample` must be a whole number of at least 10"),
        ({"max_features": 0}, ConfigError, "`max_features`"),
    ],
)
def test_a_bad_argument_is_named(
    settings: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        tlkit.probe(_model(), _stripes(), **settings)


def test_too_few_images_are_refused() -> None:
    images, labels = _stripes(2)
    with pytest.raises(
        DataError, match="must hold at least 10 images to fit and score 3 classes, got 2"
    ):
        tlkit.probe(_model(), (images, labels))


def _sorted(count: int, classes: int = 3) -> tf.data.Dataset:
    """Make a dataset of stripes, one class after the other."""
    images, labels = _stripes(count)
    labels = labels % classes
    order = np.argsort(labels, kind="stable")
    return tf.data.Dataset.from_tensor_slices((images[order], labels[order])).batch(32)


def test_the_first_images_of_a_dataset_sorted_by_class_are_refused() -> None:
    words = (
        "`data` must show at least 2 of the model's 3 classes, got the first 512 images of a "
        "dataset, all of one class. Shuffle it once before, or give arrays"
    )
    with pytest.raises(DataError, match=words):
        tlkit.probe(_model(), _sorted(1800), sample=100)


def test_classes_that_the_first_images_of_a_dataset_lack_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="`data` shows 2 of the model's 3 classes") as caught:
        tlkit.probe(_model(), _sorted(1200), sample=500, max_features=16)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_sorted_dataset_that_is_read_whole_is_probed(recwarn: pytest.WarningsRecorder) -> None:
    probe = tlkit.probe(_model(), _sorted(600), sample=600, max_features=16)
    assert probe.num_fitted == 600
    tlkit.probe(
        _model(), _sorted(600, classes=2), sample=600, max_features=16
    )  # nothing else is there
    assert not [each for each in recwarn if "classes" in str(each.message)]


def test_arrays_and_validation_of_one_class_are_refused() -> None:
    images, labels = _stripes(100)
    with pytest.raises(DataError, match="`data` must show .* got 100 images, all of one class.$"):
        tlkit.probe(_model(), (images, 0 * labels))
    with pytest.raises(DataError, match="`validation_data` must show at least 2 .* got 100 images"):
        tlkit.probe(_model(), (images, labels), validation_data=(images, 0 * labels))


def test_block_ends_of_mobilenet_v2_are_what_a_reader_would_name() -> None:
    model = tlkit.build_classifier(
        "mobilenet_v2", 10, image_size=32, weights=None, backbone_options={"alpha": 0.35}
    )
    images = np.zeros((12, 32, 32, 3), "uint8")
    found, _ = sites.find_sites(model, images, 1024)
    names = list(dict.fromkeys(place.layer for place in found))
    assert names[:4] == [
        "expanded_conv_project_BN", "block_1_project_BN", "block_2_add", "block_3_project_BN"
    ]  # fmt: skip
    assert names[-1] == "out_relu"
    assert len(names) == 18


def _places(backbone: keras.Model) -> list[str]:
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
    found, _ = sites.find_sites(model, np.zeros((1, *backbone.input_shape[1:]), "uint8"), 64)
    return list(dict.fromkeys(place.layer for place in found))


def _application(name: str) -> keras.Model:
    make = getattr(keras.applications, name)
    return make(weights=None, include_top=False, input_shape=(64, 64, 3))


def test_each_pooling_of_a_chain_ends_a_block() -> None:
    assert _places(_application("VGG16")) == [f"block{number}_pool" for number in range(1, 6)]


def test_resnet_is_read_after_its_stem_and_each_block() -> None:
    depths = {2: 3, 3: 4, 4: 6, 5: 3}
    ends = [f"conv{stage}_block{n + 1}_out" for stage in depths for n in range(depths[stage])]
    assert _places(_application("ResNet50")) == ["pool1_pool", *ends]


def test_no_gate_padding_or_normalisation_of_efficientnet_is_read() -> None:
    found = _places(_application("EfficientNetB0"))
    assert len(found) == 17  # sixteen blocks and the top
    assert all(name.endswith(("_project_bn", "_add")) for name in found[:-1])
    assert found[-1] == "top_activation"


def test_a_block_is_read_at_its_end_where_the_next_layer_gives_as_many_numbers() -> None:
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.Add(name="end")([x, keras.layers.Conv2D(4, 3, padding="same")(x)])
    x = keras.layers.Conv2D(16, 3, 2, padding="same", name="inside")(x)
    backbone = keras.Model(inputs, keras.layers.Conv2D(8, 1, name="last")(x))
    assert _places(backbone)[1:] == ["end", "last"]


def test_a_dense_block_is_read_at_its_end_not_after_each_layer() -> None:
    found = _places(_application("DenseNet121"))
    assert found == [
        "pool1",
        *(f"pool{n}_{what}" for n in (2, 3, 4) for what in ("relu", "pool")),
        "relu",
    ]


def test_a_branch_is_not_read_where_an_operation_joins_it() -> None:
    found = _places(_application("ConvNeXtTiny"))
    assert not any(name.endswith("_identity") for name in found)
    assert found[0].endswith("stem")
    assert [name.rsplit("_", 2)[-2:] for name in found[1:4]] == [["block", n] for n in "012"]


def _sequential() -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="early"),
            keras.layers.Conv2D(16, 3, padding="same", name="wide"),
            keras.layers.GlobalAveragePooling2D(name="late"),
        ]
    )


def test_a_sequential_backbone_is_probed_as_the_same_functional_one() -> None:
    sequential = _sequential()
    model = tlkit.build_classifier(sequential, 3, pixels=(0, 1))
    nodes = [len(layer._inbound_nodes) for layer in sequential.layers]
    probe, same = (tlkit.probe(each, _stripes()) for each in (model, _model()))
    assert probe.layers == same.layers
    assert nodes == [len(layer._inbound_nodes) for layer in sequential.layers]
    built = tlkit.build_classifier(
        sequential, 3, pixels=(0, 1), features=linear_probe.select_features(_stripes())
    )
    assert tlkit.models.backbone_of(built).layers[-1].name == "early"


def test_layers_inside_a_nested_model_are_not_probed_but_named() -> None:
    inner = _sequential()
    inner.name = "inner"
    backbone = keras.Sequential([keras.Input((16, 16, 3)), inner], name="outer")
    chosen = linear_probe.select_features(_stripes())
    words = "must hold its layers itself, got 'outer', .*get_layer.'inner'"
    with pytest.raises(ConfigError, match=words):
        tlkit.build_classifier(
            backbone, 3, pixels=(0, 1), features=linear_probe.select_features(_stripes())
        )
    built = tlkit.build_classifier(backbone.get_layer("inner"), 3, pixels=(0, 1), features=chosen)
    assert tlkit.models.backbone_of(built).layers[-1].name == "early"


def test_a_backbone_of_nested_blocks_is_read_after_each() -> None:
    blocks = [
        keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.MaxPooling2D()], name="one"),
        keras.Sequential([keras.layers.Conv2D(32, 3, padding="same")], name="two"),
    ]
    assert _places(keras.Sequential([keras.Input((16, 16, 3)), *blocks])) == ["one", "two"]


def test_a_backbone_without_a_place_to_read_says_so() -> None:
    inputs = keras.Input((16, 16, 3))
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(inputs))
    backbone = keras.Model(inputs, flat, name="plain")
    with pytest.raises(
        ConfigError, match="must have a layer with weights .* got 'plain' without one"
    ):
        tlkit.probe(tlkit.build_classifier(backbone, 3, pixels=(0, 1)), _stripes())
