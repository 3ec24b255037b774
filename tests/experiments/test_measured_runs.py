from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tlkit
from tlkit import freezing, recipes
from tlkit.caching.cache import Cache
from tlkit.data.splits import Split
from tlkit.errors import ConfigError, StoreError
from tlkit.experiments import measured_runs
from tlkit.experiments.measured_runs import MeasuredRun, MeasuredRuns

_DIGITS = tlkit.datasets.digits().limited(40)
_FOUND = MeasuredRun({"accuracy": 0.75, "memory": None}, np.array([1, 0, 1, 1], bool), 12.5)
_HOW = {"image_size": 32, "weights": "starter", "budget": None}


def _kept(folder: Path, how: Any = _HOW) -> MeasuredRuns:
    runs = MeasuredRuns(folder, how)
    runs.write(recipes.fast(), _DIGITS, 0, _FOUND)
    return runs


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    _kept(tmp_path)
    found = MeasuredRuns(tmp_path, _HOW).read(recipes.fast(), _DIGITS, 0)
    assert found is not None
    assert (found.values, found.seconds) == (_FOUND.values, _FOUND.seconds)
    assert np.array_equal(found.correct, _FOUND.correct)


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    runs = MeasuredRuns(None, _HOW)
    runs.write(recipes.fast(), _DIGITS, 0, _FOUND)
    assert runs.read(recipes.fast(), _DIGITS, 0) is None
    assert [*tmp_path.iterdir()] == []


def test_a_run_is_not_taken_for_another(tmp_path: Path) -> None:
    runs = _kept(tmp_path)
    fast, tuned = recipes.fast(), recipes.few_images()
    other_layers = replace(fast, features="block_3_add")
    assert runs.read(fast, _DIGITS, 1) is None
    assert runs.read(tuned, _DIGITS, 0) is None
    assert runs.read(other_layers, _DIGITS, 0) is None
    assert runs.read(fast, replace(_DIGITS, test=_DIGITS.test.take(slice(9))), 0) is None
    assert runs.read(fast, _DIGITS.limited(30), 0) is None
    assert MeasuredRuns(tmp_path, {**_HOW, "image_size": 48}).read(fast, _DIGITS, 0) is None
    relabelled = replace(_DIGITS.test, labels=_DIGITS.test.labels[::-1].copy())
    assert runs.read(fast, replace(_DIGITS, test=relabelled), 0) is None


def test_images_are_told_apart_by_their_pixels(tmp_path: Path, noise_photos: Path) -> None:
    runs = MeasuredRuns(tmp_path / "kept", _HOW)

    def read(**how: Any) -> Split:
        return tlkit.splits.split(tlkit.sources.from_folder(noise_photos, **how))

    runs.write(recipes.fast(), read(image_size=32), 0, _FOUND)
    assert runs.read(recipes.fast(), read(image_size=32), 0) is not None
    assert runs.read(recipes.fast(), read(image_size=48), 0) is None
    assert runs.read(recipes.fast(), read(image_size=32, fit="crop"), 0) is None
    assert runs.read(recipes.fast(), read(image_size=32, channels=1), 0) is None


def test_caches_that_change_results_tell_runs_apart(tmp_path: Path) -> None:
    def read(cache: Cache | None) -> MeasuredRun | None:
        return MeasuredRuns(tmp_path, _HOW, cache=cache).read(recipes.fast(), _DIGITS, 0)

    MeasuredRuns(tmp_path, _HOW, cache=Cache()).write(recipes.fast(), _DIGITS, 0, _FOUND)
    assert read(Cache(folder=tmp_path / "features")) is not None
    assert read(Cache(views=2)) is None
    assert read(Cache(dtype="float16")) is None
    assert read(None) is None


def test_the_version_of_the_backend_tells_runs_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = _kept(tmp_path)
    assert runs.read(recipes.fast(), _DIGITS, 0) is not None
    versions = {keras.backend.backend(): "0.1"}
    monkeypatch.setattr(measured_runs, "package_versions", lambda *names: versions)
    assert runs.read(recipes.fast(), _DIGITS, 0) is None


def test_a_recipe_with_callbacks_is_refused(tmp_path: Path) -> None:
    recipe = recipes.few_images()
    stop = replace(recipe.head, callbacks=(keras.callbacks.EarlyStopping("loss"),))
    own = replace(recipe, head=stop, name="own")
    MeasuredRuns(None, _HOW).check([own])
    with pytest.raises(ConfigError, match="must be None if a recipe has callbacks, as 'own' has"):
        recipes.compare([own], _DIGITS, folder=tmp_path)


def test_freezing_tells_recipes_apart(tmp_path: Path) -> None:
    tuned = recipes.few_images()
    assert tuned.fine_tune is not None
    halves = [
        replace(tuned, fine_tune=replace(tuned.fine_tune, freeze=freezing.first_fraction(share)))
        for share in (0.5, 0.25)
    ]
    runs = MeasuredRuns(tmp_path, _HOW)
    runs.write(halves[0], _DIGITS, 0, _FOUND)
    assert runs.read(halves[0], _DIGITS, 0) is not None
    assert runs.read(halves[1], _DIGITS, 0) is None


def test_a_file_of_weights_that_changed_is_another(tmp_path: Path) -> None:
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"one")
    how = {**_HOW, "weights": str(weights)}
    runs = _kept(tmp_path / "kept", how)
    assert runs.read(recipes.fast(), _DIGITS, 0) is not None
    weights.write_bytes(b"other")
    assert runs.read(recipes.fast(), _DIGITS, 0) is None


def test_a_model_as_a_backbone_is_told_by_its_weights(tmp_path: Path) -> None:
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    own = replace(recipes.fast(), backbone=backbone, pixels=(0, 1))
    runs = MeasuredRuns(tmp_path, _HOW)
    runs.write(own, _DIGITS, 0, _FOUND)
    assert runs.read(own, _DIGITS, 0) is not None
    backbone.layers[0].bias.assign(np.ones(4))
    assert runs.read(own, _DIGITS, 0) is None


def test_damaged_measurements_are_refused(tmp_path: Path) -> None:
    runs = _kept(tmp_path)
    file = next(tmp_path.rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-9])
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(StoreError, match="Every checkpoint in .* is damaged"),
    ):
        runs.read(recipes.fast(), _DIGITS, 0)
