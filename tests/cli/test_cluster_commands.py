from pathlib import Path
from typing import Any

import keras
import pytest
from tests.samples import small_classifier

import tlkit
from tlkit.caching.cache import Cache
from tlkit.cli import app, cluster_commands
from tlkit.distributed import FeatureSet, extraction


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `extract` is called with."""
    calls: dict[str, Any] = {}

    def extract(manifest: str, model: keras.Model, **settings: Any) -> FeatureSet:
        calls.update(settings, manifest=manifest, model=model)
        return FeatureSet(
            folder="features",
            files=("1.parquet",),
            num_images=3,
            num_computed=2,
            num_features=4,
            dtype="float16",
            engine="keras 3",
            class_counts={"a": 3},
            problems=(),
            read_bytes=5,
            seconds=1.0,
            workers=(),
        )

    monkeypatch.setattr(tlkit.distributed, "extract", extract, raising=False)
    return calls


def test_options_reach_the_extraction(
    given: dict[str, Any],
    small_backbone: keras.Model,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tlkit.save(small_classifier(small_backbone), tmp_path / "model.keras")
    words = ["extract", "photos.parquet", str(model), "--out", "s3://bucket/features"]
    more = ["--workers", "2", "--unlabelled", "--image-size", "120x200", "--white", "4095"]
    assert app.main([*words, *more]) == app.DONE
    assert "features of 3 images, 4 float16 numbers each" in capsys.readouterr().out
    wanted = {
        "manifest": "photos.parquet",
        "out": "s3://bucket/features",
        "cluster": "local",
        "workers": 2,
        "label_column": None,
        "image_size": (120, 200),
        "white": 4095,
        "engine": "auto",
        "dtype": "float16",
    }
    assert {name: given[name] for name in wanted} == wanted


def test_the_engines_and_dtypes_are_those_of_a_cache() -> None:
    hints = extraction.extract.__wrapped__.__annotations__
    assert set(cluster_commands.Engine.__args__) == set(_flatten(hints["engine"]))
    assert Cache(dtype="float16").dtype == "float16"


def _flatten(hint: Any) -> list[str]:
    """Return the words of literals, and of unions of them."""
    return [
        word
        for each in hint.__args__
        for word in ([each] if isinstance(each, str) else _flatten(each))
    ]
