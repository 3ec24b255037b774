"""Small backbones that return tokens, of plain Keras layers and of KerasHub."""

from typing import Any

import keras
import numpy as np
import pytest

SIZE, PATCH, WIDTH = 16, 4, 8  # 4 x 4 patches

HUB = ("vit", "dinov2", "dinov3", "siglip", "deit", "clip")
"""Backbones of KerasHub that `hub_backbone` makes."""


@keras.saving.register_keras_serializable(package="tests")
class AddTokens(keras.layers.Layer):
    """Puts tokens before the patches and adds positions."""

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def build(self, shape: tuple[int, ...]) -> None:
        if self.count:
            self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), initializer="normal")
        self.positions = self.add_weight(
            shape=(1, shape[1] + self.count, shape[-1]), initializer="normal"
        )

    def call(self, patches: Any) -> Any:
        if self.count:
            tokens = keras.ops.tile(self.tokens, (keras.ops.shape(patches)[0], 1, 1))
            patches = keras.ops.concatenate([tokens, patches], axis=1)
        return patches + self.positions

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


def plain_vit(
    num_prefix: int = 1, *, blocks: int = 3, dropout: float = 0.1, patch: int = PATCH
) -> keras.Model:
    """Return a ViT of Keras' own layers: residual additions are layers of the graph."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(WIDTH, patch, patch, name="patches")(image)
    x = keras.layers.Reshape((-1, WIDTH), name="to_tokens")(x)
    x = AddTokens(num_prefix, name="embedding")(x)
    for number in range(1, blocks + 1):
        y = keras.layers.LayerNormalization(name=f"block_{number}_norm_1")(x)
        attention = keras.layers.MultiHeadAttention(
            2, WIDTH // 2, dropout=dropout, name=f"block_{number}_attention"
        )
        x = keras.layers.Add(name=f"block_{number}_add_1")([x, attention(y, y)])
        y = keras.layers.LayerNormalization(name=f"block_{number}_norm_2")(x)
        y = keras.layers.Dense(2 * WIDTH, activation="gelu", name=f"block_{number}_dense_1")(y)
        y = keras.layers.Dropout(dropout, name=f"block_{number}_dropout")(y)
        y = keras.layers.Dense(WIDTH, name=f"block_{number}_dense_2")(y)
        x = keras.layers.Add(name=f"block_{number}_add_2")([x, y])
    return keras.Model(image, keras.layers.LayerNormalization(name="norm")(x), name="plain_vit")


def hub_backbone(name: str, *, dropout: float = 0.0, **options: Any) -> keras.Model:
    """Return a tiny backbone of KerasHub with random weights."""
    models = pytest.importorskip("keras_hub", reason="the extra 'hub' is not installed").models
    keras.utils.set_random_seed(0)
    common = {"patch_size": PATCH, "num_layers": 3, "num_heads": 2, "hidden_dim": WIDTH}
    common["image_shape"] = (SIZE, SIZE, 3)
    wide = {**common, "intermediate_dim": 2 * WIDTH}
    if name == "vit":
        return models.ViTBackbone(**common, mlp_dim=2 * WIDTH, dropout_rate=dropout)
    if name == "dinov2":
        return models.DINOV2Backbone(
            **wide,
            num_register_tokens=2,
            position_embedding_shape=(24, 24, 3),
            dropout_rate=dropout,
            **options,
        )
    if name == "deit":
        return models.DeiTBackbone(**wide, dropout_rate=dropout)
    kind = {
        "dinov3": models.DINOV3Backbone,
        "siglip": models.SigLIPVisionEncoder,
        "clip": models.CLIPVisionEncoder,
    }
    return kind[name](**wide)


def make_spots(count: int = 27, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return dark noise with a bright square in the corner that the label says, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, SIZE, SIZE, 3), "uint8")
    for image, label in zip(images, labels, strict=True):
        row, column = 8 * (label // 2), 8 * (label % 2)
        image[row : row + 8, column : column + 8] += 150
    return images, labels
