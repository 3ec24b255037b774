from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tlkit
from tlkit import freezing, recipes
from tlkit.errors import StoreError
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
    import keras

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
