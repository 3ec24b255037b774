from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tlkit.data.image_dataset import ImageDataset
from tlkit.data.scanning import Scan


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., ImageDataset]:
    """Make a dataset of nothing but scans: with these perceptual hashes, or with different ones."""

    def make(
        count: int = 0,
        *,
        hashes: Sequence[int] = (),
        digests: Sequence[str] = (),
        groups: tuple[str, ...] = (),
    ) -> ImageDataset:
        hashes = [*hashes, *np.random.default_rng(1).integers(1, 2**63, count).tolist()]
        digests = [*digests, *(f"digest {index}" for index in range(len(digests), len(hashes)))]
        return ImageDataset(
            name="made",
            images=np.zeros((len(hashes), 1, 1), "uint8"),
            labels=np.arange(len(hashes)) % 2,
            class_names=("a", "b"),
            paths=tuple(f"{index}.png" for index in range(len(hashes))),
            groups=groups,
            known_scans=tuple(
                Scan(digest=digest, perceptual_hash=perceptual_hash)
                for digest, perceptual_hash in zip(digests, hashes, strict=True)
            ),
        )

    return make
