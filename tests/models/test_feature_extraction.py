import keras
import numpy as np
import pytest
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit.errors import ConfigError
from tlkit.models import feature_extraction

IMAGES = make_noise(5)[0]


def test_the_head_reads_the_named_layer_and_later_layers_are_left_out() -> None:
    whole = tlkit.models.backbones.create(
        "mobilenet_v2", image_size=32, weights=None, options={"alpha": 0.35}
    )
    model = small_classifier(whole, features="block_5_add", pooling="flatten")
    tapped = tlkit.models.backbone_of(model)
    assert tapped.layers[-1].name == "block_5_add"
    assert tapped.count_params() < whole.count_params() / 10
    maps = keras.Model(whole.input, whole.get_layer("block_5_add").output)
    prepared = tlkit.GrayToRGBResize((32, 32))(IMAGES)
    vectors = np.asarray(maps(prepared, training=False)).reshape(5, -1)
    logits = vectors @ model.get_layer("logits").get_weights()[0]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-5)


def test_several_layers_are_read_in_their_order() -> None:
    whole = tlkit.models.backbones.create(
        "mobilenet_v2", image_size=32, weights=None, options={"alpha": 0.35}
    )
    model = small_classifier(whole, features=["block_5_add", "block_2_add"])
    backbone = tlkit.models.backbone_of(model)
    assert [shape[-1] for shape in backbone.output_shape] == [16, 8]
    assert model.get_layer("logits").input.shape == (None, 24)
    assert model.predict(IMAGES, verbose=0).shape == (5, 3)


def test_each_layer_can_have_its_own_pooling() -> None:
    whole = tlkit.models.backbones.create(
        "mobilenet_v2", image_size=32, weights=None, options={"alpha": 0.35}
    )
    names = ["block_2_add", "block_5_add"]
    model = small_classifier(whole, features=names, pooling=[2, "avg"])
    assert model.get_layer("logits").input.shape == (None, 2 * 2 * 8 + 16)
    with pytest.raises(ConfigError, match="one for each of the 2 layers of `features`, got 3"):
        small_classifier(whole, features=names, pooling=["avg", "avg", 2])


@pytest.mark.slow
def test_a_truncated_classifier_trains_saves_and_loads(tmp_path) -> None:
    whole = tlkit.models.backbones.create(
        "mobilenet_v2", image_size=32, weights=None, options={"alpha": 0.35}
    )
    model = small_classifier(whole, features=["block_2_add", "block_4_add"], pooling=2)
    labels = np.arange(5) % 3
    tlkit.training.batchnorm.reestimate(model, tlkit.freezing.find_batchnorm(model), [IMAGES])
    trainer = tlkit.TwoPhaseTrainer(
        head=tlkit.Phase(epochs=1),
        fine_tune=tlkit.Phase(epochs=1, freeze=tlkit.freezing.first_blocks(1)),
    )
    trainer.fit(model, (IMAGES, labels), verbose=False)
    loaded = tlkit.load(tlkit.save(model, tmp_path / "tapped.keras"))
    np.testing.assert_allclose(
        loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("pooling", "size"), [("avg", 3), ("max", 3), ("flatten", 75), (2, 12), (3, 27), (9, 75)]
)
def test_maps_become_features(pooling: feature_extraction.Pooling, size: int) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    features = np.asarray(feature_extraction.pool(maps, pooling))
    assert features.shape == (2, size)
    if pooling == 2:  # squares of 3, those at the end cut short
        np.testing.assert_allclose(features[:, :3], maps[:, :3, :3].mean(axis=(1, 2)), atol=1e-6)
        np.testing.assert_allclose(features[:, -3:], maps[:, 3:, 3:].mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"features": "conv_9"}, "`features` must be names of layers .* got 'conv_9'"),
        ({"features": []}, "`features` must be one or more different layer names"),
        ({"pooling": "flat"}, r"`pooling` must be one of .*Did you mean 'flatten'\?"),
        ({"pooling": 0}, "`pooling` must be a whole number of at least 1"),
        ({"features": "auto"}, "`features` must be layer names or a function that .* got 'auto'"),
        (
            {"features": feature_extraction.truncate, "pooling": "avg"},
            "`pooling` must be left out if `features` is a function, .* got 'avg'",
        ),
    ],
)
def test_bad_features_are_refused_by_name(
    small_backbone: keras.Model, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        small_classifier(small_backbone, **settings)


def _sequential() -> keras.Sequential:
    layers = [keras.layers.Conv2D(4, 3, name="one"), keras.layers.Conv2D(5, 3, name="two")]
    return keras.Sequential([keras.Input((9, 9, 3)), *layers], name="chain")


def test_a_sequential_backbone_is_read_at_a_layer() -> None:
    chain = _sequential()
    model = small_classifier(chain, features="one", pooling="flatten")
    assert [layer.name for layer in tlkit.models.backbone_of(model).layers][1:] == ["one"]
    assert tlkit.models.backbone_of(model).get_layer("one") is chain.get_layer("one")
    maps = np.asarray(
        chain.get_layer("one")(tlkit.GrayToRGBResize((9, 9), output_range=(0, 1))(IMAGES))
    )
    logits = maps.reshape(5, -1) @ model.get_layer("logits").get_weights()[0]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-5)


def test_a_layer_inside_a_nested_model_is_refused_with_the_model_to_give() -> None:
    backbone = keras.Sequential([keras.Input((9, 9, 3)), _sequential()], name="outer")
    with pytest.raises(ConfigError, match="'one', which is inside its layer 'chain'"):
        small_classifier(backbone, features="one")
    assert small_classifier(backbone, features="chain").output_shape == (None, 3)


def test_a_backbone_without_a_graph_can_not_be_truncated() -> None:
    class Own(keras.Model):
        pass

    with pytest.raises(ConfigError, match="`features` must be left out with 'own', a Own"):
        feature_extraction.truncate(Own(name="own"), ["one"])


def test_maps_of_unknown_size_can_only_be_pooled_globally() -> None:
    inputs = keras.Input((None, None, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    maps = keras.KerasTensor((None, None, None, 4))
    with pytest.raises(ConfigError, match="maps of unknown height and width"):
        feature_extraction.pool(maps, "flatten")
    assert small_classifier(backbone, image_size=16).output_shape == (None, 3)
