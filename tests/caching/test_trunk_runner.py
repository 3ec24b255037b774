from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tlkit
from tlkit.caching.cache import Cache
from tlkit.caching.engines import selection
from tlkit.caching.store import Store
from tlkit.caching.usage import Usage
from tlkit.evaluation.head_features import HeadFeatures

tensorflow_only = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="engines compile TensorFlow's graph"
)


def _images(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 9, 9), "uint8")


def _engines(folder: Path) -> set[str]:
    return {info.facts["engine"][0] for info in Store(folder=folder).entries()}


@pytest.fixture
def threshold(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of images from which on a compiler is used, which is always faster."""
    monkeypatch.setattr(selection, "_time_images", lambda engine, _: float(engine.name != "keras"))
    monkeypatch.setattr(selection, "list_installed", lambda: ["keras", "litert"])
    prepare = selection.prepare

    def limited(*args: Any, num_images: int | None = None, **how: Any) -> selection.Engine:
        patch = 0.0 if num_images is None or num_images >= 20 else np.inf
        monkeypatch.setattr(selection, "_WORK_PER_KERNEL", patch)
        return prepare(*args, num_images=num_images, **how)

    monkeypatch.setattr(selection, "prepare", limited)
    return 20


def _read(model: keras.Model, images: np.ndarray, folder: Path, **how: Any) -> tuple[int, int]:
    """Read features; return how many images were run, and how many were stored before."""
    usage = Usage()
    features = HeadFeatures(model, Cache(folder=folder, usage=usage, **how)).read(images)
    expected = tlkit.embed(model, images)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    return usage.num_computed, usage.num_images - usage.num_computed


@tensorflow_only
def test_few_images_are_run_by_keras_and_many_by_a_compiler(
    model: keras.Model, threshold: int, tmp_path: Path
) -> None:
    assert _read(model, _images(threshold - 1), tmp_path / "few") == (threshold - 1, 0)
    assert _engines(tmp_path / "few") == {"keras"}
    _read(model, _images(threshold), tmp_path / "many")
    assert _engines(tmp_path / "many") == {"litert"}


@tensorflow_only
def test_the_engine_that_ran_others_of_the_images_runs_more(
    model: keras.Model, threshold: int, tmp_path: Path
) -> None:
    _read(model, _images(threshold), tmp_path)
    assert _read(model, _images(3, seed=1), tmp_path) == (3, 0)
    assert _engines(tmp_path) == {"litert"}


@tensorflow_only
def test_images_that_keras_ran_are_not_run_again(
    model: keras.Model, threshold: int, tmp_path: Path
) -> None:
    images = _images(2 * threshold)
    _read(model, images[: threshold + 4], tmp_path, engine="keras")
    assert _read(model, images, tmp_path) == (threshold - 4, threshold + 4)
    assert _engines(tmp_path) == {"keras"}


@tensorflow_only
def test_a_few_images_that_keras_ran_do_not_make_it_run_many(
    model: keras.Model, threshold: int, tmp_path: Path
) -> None:
    images = _images(2 * threshold)
    _read(model, images[:3], tmp_path)
    assert _read(model, images, tmp_path) == (2 * threshold, 0)
    assert _engines(tmp_path) == {"keras", "litert"}


def test_engine_keras_gives_keras_numbers(model: keras.Model, tmp_path: Path) -> None:
    images = _images(128)
    features = HeadFeatures(model, Cache(folder=tmp_path, engine="keras")).read(images)
    np.testing.assert_array_equal(features, tlkit.embed(model, images))


@tensorflow_only
def test_the_steps_of_one_run_compile_a_trunk_once(
    model: keras.Model, threshold: int, tmp_path: Path
) -> None:
    engines: dict[Any, Any] = {}
    _read(model, _images(threshold), tmp_path / "training", engines=engines)
    first = list(engines.values())
    assert len(first) == 1
    images = _images(threshold, seed=1)
    assert _read(model, images, tmp_path / "evaluation", engines=engines) == (threshold, 0)
    assert list(engines.values()) == first


@tensorflow_only
def test_a_compiled_trunk_is_not_taken_for_another_one(
    model: keras.Model, threshold: int, tmp_path: Path
) -> None:
    engines: dict[Any, Any] = {}
    _read(model, _images(threshold), tmp_path, engines=engines)
    keys = set(engines)
    model.set_weights([each + 0.1 for each in model.get_weights()])
    _read(model, _images(threshold), tmp_path, engines=engines)
    assert len(engines) == 1
    assert not keys & set(engines)


@tensorflow_only
def test_engines_of_one_run_keep_an_engine_that_was_asked_for(
    model: keras.Model, threshold: int, tmp_path: Path
) -> None:
    engines: dict[Any, Any] = {}
    _read(model, _images(threshold), tmp_path / "auto", engines=engines)
    _read(model, _images(threshold), tmp_path / "keras", engines=engines, engine="keras")
    assert _engines(tmp_path / "keras") == {"keras"}


def test_images_are_stored_without_returning_their_features(
    model: keras.Model, tmp_path: Path
) -> None:
    cache, images = Cache(folder=tmp_path, engine="keras", usage=Usage()), _images(5)
    assert HeadFeatures(model, cache)._trunk.store(images) is None
    assert cache.usage is not None
    assert cache.usage.num_computed == 5
    np.testing.assert_allclose(
        HeadFeatures(model, cache).read(images), tlkit.embed(model, images), rtol=1e-5
    )
    assert cache.usage.num_computed == 5
