from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import small_classifier

from tlkit.experiments.recipe import Recipe


@pytest.fixture
def noise_photos(tmp_path: Path) -> Path:
    """Forty random images of two classes, "a" and "b"."""
    random = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (20, 24, 3), "uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def small_recipes(small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes build a classifier of scikit-learn's digits on a small random backbone."""
    weights = small_backbone.get_weights()

    def build(*_: object, **__: object) -> keras.Model:
        small_backbone.set_weights(weights)  # what an earlier training changed
        return small_classifier(
            small_backbone, classes=10, input_shape=(8, 8, 1), value_range=(0, 16)
        )

    monkeypatch.setattr(Recipe, "build", build)
