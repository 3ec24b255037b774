from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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
