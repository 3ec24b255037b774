from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from tlkit.distributed import tail_identity
from tlkit.distributed.storage import Location
from tlkit.distributed.tail import Frozen
from tlkit.training import Phase

FACTS = {"columns": ["a"], "engine": ["litert", "1.0"], "pictures": {"fit": "crop"}}


def _describe(
    *, facts: dict[str, Any] = FACTS, images: str = "0", **changes: Any
) -> dict[str, str]:
    settings: dict[str, Any] = {
        "files": (Location("/features/0.parquet"),),
        "counts": {"train": np.array([5])},
        "dtype": "float16",
        "phase": Phase(),
        "frozen": Frozen(indices=(0, 1, 2, 5), batchnorm="frozen"),
        "seed": 0,
    }
    job: Any = SimpleNamespace(**{**settings, **changes})
    return tail_identity.describe(job, facts=facts, images=images)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"images": "1"}, "features"),
        ({"facts": {**FACTS, "pictures": {"fit": "pad"}}}, "features"),
        ({"facts": {**FACTS, "engine": ["keras", "3"]}}, "features"),
        ({"dtype": "float32"}, "features"),
        ({"files": (Location("/features/1.parquet"),)}, "features"),
        ({"seed": 1}, "seed"),
        ({"phase": Phase(epochs=9)}, "phase.epochs"),
        ({"frozen": Frozen(indices=(), batchnorm="frozen")}, "phase.freeze"),
    ],
)
def test_another_training_differs_in_one_setting(changes: dict[str, Any], name: str) -> None:
    found, other = _describe(), _describe(**changes)
    assert [each for each in found if found[each] != other[each]] == [name]


def test_the_folder_of_the_features_does_not_matter() -> None:
    assert _describe(files=(Location("s3://bucket/0.parquet"),)) == _describe()


def test_frozen_layers_are_listed() -> None:
    assert _describe()["phase.freeze"] == "layers 0 to 2, 5"
    none = Frozen(indices=(), batchnorm="frozen")
    assert _describe(frozen=none)["phase.freeze"] == "no layers"


def test_other_weights_have_another_digest() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    before = tail_identity.digest_weights(model)
    assert tail_identity.digest_weights(model) == before
    model.layers[-1].bias.assign_add(np.ones(3))
    assert tail_identity.digest_weights(model) != before
