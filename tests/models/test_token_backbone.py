"""Backbones that return tokens: their blocks, which tokens are patches, pooling, files."""

from pathlib import Path

import keras
import numpy as np
import pytest
from tests.tokens import HUB, SIZE, WIDTH, hub_backbone, make_spots, plain_vit

import tlkit
from tlkit import freezing
from tlkit.errors import ConfigError
from tlkit.models import backbone_of, feature_extraction, transformer_blocks
from tlkit.models.token_backbone import TokenBackbone, TokenLayout

IMAGES, _ = make_spots(4)
PIXELS = (IMAGES / 255).astype("float32")
PREFIXES = {"plain": 1, "vit": 1, "dinov2": 3, "dinov3": 5, "siglip": 0, "deit": 2, "clip": 1}
SLOW = [pytest.param(each, marks=pytest.mark.slow) for each in ("dinov2", "deit")]
FEW = ["plain", "vit", "siglip", *SLOW]


def make(name: str, *, dropout: float = 0.0) -> keras.Model:
    return plain_vit(dropout=dropout) if name == "plain" else hub_backbone(name, dropout=dropout)


def classify(backbone: keras.Model, **settings: object) -> keras.Model:
    return tlkit.build_classifier(backbone, 3, **{"pixels": (0, 1), "seed": 0, **settings})


@pytest.mark.parametrize("name", ["plain", *HUB])
def test_the_blocks_are_layers_and_the_result_is_the_backbones(name: str) -> None:
    backbone = make(name)
    inputs = PIXELS if name == "plain" else _as_named(backbone, PIXELS)
    expected = np.asarray(backbone(inputs, training=False))
    wrapped = backbone_of(classify(backbone))
    np.testing.assert_array_equal(wrapped(PIXELS, training=False), expected)
    assert sum(map(transformer_blocks.is_block, wrapped.layers)) == (0 if name == "plain" else 3)
    assert {id(each) for each in wrapped.weights} == {id(each) for each in backbone.weights}
    ending = wrapped.truncate([wrapped.layers[-2 if name == "siglip" else -1].name])
    assert wrapped.layout(ending.outputs[0].shape) == TokenLayout(
        num_prefix_tokens=PREFIXES[name], grid=(4, 4)
    )


def _as_named(backbone: keras.Model, images: np.ndarray) -> object:
    return dict.fromkeys(backbone.input, images) if isinstance(backbone.input, dict) else images


@pytest.mark.parametrize("name", FEW)
def test_a_tapped_classifier_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    wrapped = backbone_of(classify(make(name)))
    ends = [layer for layer in wrapped.layers if transformer_blocks.is_block(layer)]
    names = [each.name for each in ends[:2]] or ["block_1_add_2", "block_2_add_2"]
    pooling = ["avg", 2] if name == "siglip" else ["cls+avg", "cls"]
    model = classify(make(name), features=names, pooling=pooling)
    assert [layer.name for layer in backbone_of(model).layers][-1] == names[1]
    loaded = tlkit.load(tlkit.save(model, tmp_path / "tapped.keras"))
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


@pytest.mark.parametrize(
    ("pooling", "take"),
    [
        ("cls", lambda cls, grid: cls),
        ("avg", lambda cls, grid: grid.mean(axis=(1, 2))),
        ("average", lambda cls, grid: grid.mean(axis=(1, 2))),
        ("max", lambda cls, grid: grid.max(axis=(1, 2))),
        ("cls+avg", lambda cls, grid: np.concatenate([cls, grid.mean(axis=(1, 2))], axis=1)),
        ("cls+average", lambda cls, grid: np.concatenate([cls, grid.mean(axis=(1, 2))], axis=1)),
        ("flatten", lambda cls, grid: grid.reshape(len(grid), -1)),
        (2, lambda cls, grid: grid.reshape(-1, 2, 2, 2, 2, 5).mean(axis=(2, 4)).reshape(-1, 20)),
        (None, lambda cls, grid: cls),
    ],
    ids=lambda value: str(value) if isinstance(value, str | int) else "",
)
def test_tokens_become_features(pooling: object, take: object) -> None:
    tokens = np.random.default_rng(0).normal(size=(3, 19, 5)).astype("float32")
    layout = TokenLayout(num_prefix_tokens=3, grid=(4, 4))
    if pooling is not None:
        pooling = feature_extraction.check_pooling(pooling)
    features = feature_extraction.pool(tokens, pooling, layout=layout)
    expected = take(tokens[:, 0], tokens[:, 3:].reshape(3, 4, 4, 5))
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_without_a_class_token_the_average_is_read_by_default() -> None:
    model = classify(plain_vit(num_prefix=0))
    tokens = backbone_of(model)(PIXELS, training=False)
    pooled = keras.Model(model.inputs[0], model.get_layer("pooling").output)(IMAGES, training=False)
    np.testing.assert_allclose(pooled, np.mean(tokens, axis=1), atol=1e-6)
    with pytest.raises(ConfigError, match="got 'cls': all tokens of this backbone are patches"):
        classify(plain_vit(num_prefix=0), pooling="cls")


def test_the_class_token_of_maps_is_refused(small_backbone: keras.Model) -> None:
    with pytest.raises(ConfigError, match=r"`pooling` must be .* for maps, got 'cls'"):
        classify(small_backbone, pooling="cls")
    with pytest.raises(ConfigError, match="`num_prefix_tokens` must be left out"):
        classify(small_backbone, num_prefix_tokens=1)


def _without_patches(tokens: int) -> keras.Model:
    """Return a backbone of tokens that no convolution made."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Reshape((tokens, -1))(image)
    return keras.Model(image, keras.layers.Dense(WIDTH, name="dense")(x), name="dense_tokens")


def test_prefix_tokens_that_cannot_be_found_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="`num_prefix_tokens` must be .* for the 16 tokens"):
        classify(_without_patches(16))
    model = classify(_without_patches(16), num_prefix_tokens=0, pooling=2)
    assert model.get_layer("logits").input.shape == (None, 4 * WIDTH)
    with pytest.raises(ConfigError, match="rows and columns of this backbone's 12 patches"):
        classify(_without_patches(12), num_prefix_tokens=0, pooling="flatten")
    assert classify(_without_patches(12), num_prefix_tokens=2, pooling="max").built
    with pytest.raises(ConfigError, match="must be less than the 12 tokens .* got 12"):
        classify(_without_patches(12), num_prefix_tokens=12)
    with pytest.raises(ConfigError, match="`num_prefix_tokens` must be a whole number"):
        classify(_without_patches(12), num_prefix_tokens=-1)


def test_the_backbone_of_a_classifier_is_a_backbone_again() -> None:
    first = backbone_of(classify(plain_vit()))
    assert backbone_of(classify(first)) is first
    assert classify(first, num_prefix_tokens=5, pooling="max").layers[-3].name == "pooling"


@pytest.mark.parametrize("name", ["vit", "dinov3"])
def test_whole_blocks_are_frozen(name: str) -> None:
    wrapped = backbone_of(classify(make(name)))
    frozen = freezing.first_blocks(2)(wrapped)
    assert frozen[-1].name == {"vit": "transformer_block_2", "dinov3": "layers_1"}[name]
    freezing.apply(freezing.plan(wrapped, freezing.first_blocks(2)))
    trained = [layer.name for layer in wrapped.layers if layer.trainable_variables]
    assert len(trained) == 2  # the last block and the last normalisation
    assert not any(part.trainable_variables for part in frozen)


def test_a_plain_vits_additions_end_blocks() -> None:
    wrapped = backbone_of(classify(plain_vit()))
    names = [layer.name for layer in freezing.first_blocks(4)(wrapped)]
    assert names[-1] == "block_2_add_2"
    inside = freezing.first(names.index("block_2_dense_1"))
    assert [each.name for each in freezing.to_block_end(inside)(wrapped)] == names


def test_a_backbone_with_the_name_of_a_layer_is_renamed(tmp_path: Path) -> None:
    backbone = plain_vit()
    backbone.name = "features"
    model = classify(backbone)
    assert backbone_of(model).name == "features_backbone"
    loaded = tlkit.load(tlkit.save(model, tmp_path / "renamed.keras"))
    assert backbone_of(loaded).name == "features_backbone"


def test_a_vit_inside_another_model_is_opened_too(tmp_path: Path) -> None:
    scaled = keras.Sequential([keras.Input((SIZE, SIZE, 3)), plain_vit()], name="outer")
    model = classify(scaled, features="block_2_add_2", pooling="max")
    loaded = tlkit.load(tlkit.save(model, tmp_path / "nested.keras"))
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_trained_positions_of_dinov2_are_in_the_file(tmp_path: Path) -> None:
    model = classify(make("dinov2"))
    positions = backbone_of(model).get_layer("embeddings").interpolated_position_embeddings
    positions.assign(positions - 0.1 * np.random.default_rng(0).random(positions.shape))
    loaded = tlkit.load(tlkit.save(model, tmp_path / "positions.keras"))
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_stochastic_depth_that_fails_in_training_is_refused() -> None:
    backbone = hub_backbone("dinov2", drop_path_rate=0.1)
    with pytest.raises(ConfigError, match=r"`backbone` must have drop_path_rate=0, got 0\.1"):
        classify(backbone)


@keras.saving.register_keras_serializable(package="tests")
class _Moody(keras.layers.Layer):
    """Holds blocks, and computes something else when it is called as a layer."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.blocks = [_Block(name=f"inner_{number}") for number in range(2)]

    def build(self, shape: tuple[int, ...]) -> None:
        for block in self.blocks:
            block.build(shape)

    def call(self, tokens: object) -> object:
        for block in self.blocks:
            tokens = block(tokens)
        return tokens if isinstance(tokens, keras.KerasTensor) else 2 * tokens


@keras.saving.register_keras_serializable(package="tests")
class _Block(keras.layers.Layer):
    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(2, 4)

    def build(self, shape: tuple[int, ...]) -> None:
        self.attention.build(shape, shape)

    def call(self, tokens: object) -> object:
        return tokens + self.attention(tokens, tokens)


def test_a_layer_that_does_not_compute_the_same_when_opened_stays_closed() -> None:
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(WIDTH, 4, 4)(image)
    x = keras.layers.Reshape((-1, WIDTH))(x)
    backbone = keras.Model(image, _Moody(name="moody")(x), name="moody_vit")
    with pytest.warns(UserWarning, match="only be frozen and read as a whole: .* other results"):
        wrapped = backbone_of(classify(backbone))
    assert [layer.name for layer in wrapped.layers][-1] == "moody"
    np.testing.assert_array_equal(wrapped(PIXELS), backbone(PIXELS))
    assert isinstance(wrapped, TokenBackbone)
