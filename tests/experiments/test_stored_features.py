"""Which images are run, when images, parts or seeds change: proved by counting them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.caching.usage import Usage
from tlkit.data import decoding
from tlkit.evaluation import evaluator
from tlkit.experiments import Experiment, loading, runner

Train = Callable[[Experiment], tuple[int, Usage, np.ndarray]]


def draw(folder: Path, names: range) -> None:
    """Write two classes of small pictures: noise that is brighter at the left, or at the right."""
    for number in names:
        side = number % 2
        pixels = np.random.default_rng(number).integers(0, 128, (16, 16, 3), "uint8")
        pixels[:, 8 * side : 8 * side + 8] += 100
        (folder / ["left", "right"][side]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / ["left", "right"][side] / f"{number:05}.png")


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train and evaluate; return how many images were run, what is said, and probabilities."""
    real = TrunkRunner.run
    counted: list[int] = []

    def run(self: TrunkRunner, images: np.ndarray) -> list[np.ndarray]:
        counted.append(len(images))
        return real(self, images)

    monkeypatch.setattr(TrunkRunner, "run", run)
    # no image is classified by the whole model, which would run the trunk too
    monkeypatch.delattr(evaluator, "_mean_over_views")

    def once(experiment: Experiment) -> tuple[int, Usage, np.ndarray]:
        counted.clear()
        usage = Usage()
        cache = tlkit.Cache(folder=tmp_path / "features", usage=usage)
        parts = loading.split_images(experiment, loading.load_images(experiment))
        trained = runner.train(experiment, parts, cache=cache, verbose=False)
        found = tlkit.evaluate(trained.model, parts.test, cache=cache)
        return sum(counted), usage, found.probabilities

    return once


SETTINGS = {"image_size": 32, "weights": "starter", "duplicates": "allow"}


@pytest.mark.parametrize("count", [150, pytest.param(1500, marks=pytest.mark.slow)])
def test_another_seed_runs_nothing_and_15_photos_more_run_15(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    folder = tmp_path / "photos"
    draw(folder, range(count))
    first = Experiment(str(folder), **SETTINGS)
    said = "features: ran {:,} of {:,} images, {:,} from the cache"
    ran, usage, _ = train(first)
    assert (ran, str(usage)) == (count, said.format(count, count, 0))
    real, decoded = decoding.decode, []
    monkeypatch.setattr(decoding, "decode", lambda *a, **k: decoded.append(a) or real(*a, **k))
    ran, usage, _ = train(replace(first, seed=1, test=0.3))
    assert (ran, str(usage)) == (0, said.format(0, count, count))
    assert len(decoded) < 64  # a few are checked; the others are not decoded
    draw(folder, range(count, count + 15))
    ran, usage, _ = train(first)
    assert (ran, str(usage)) == (15, said.format(15, count + 15, count))


@pytest.mark.slow
def test_a_moved_folder_renamed_classes_and_duplicates_run_nothing(
    train: Train, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    draw(folder, range(60))
    experiment = Experiment(str(folder), **SETTINGS)
    assert train(experiment)[0] == 60
    shutil.copy(folder / "left" / "00000.png", folder / "left" / "copy.png")
    (folder / "left").rename(folder / "west")
    folder.rename(tmp_path / "elsewhere")
    assert train(replace(experiment, data=str(tmp_path / "elsewhere")))[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"fit": "crop", "image_size": 33}, {"channels": 1}])
def test_another_way_to_decode_runs_all(train: Train, tmp_path: Path, changed: dict) -> None:
    folder = tmp_path / "photos"
    draw(folder, range(60))
    experiment = Experiment(str(folder), **SETTINGS)
    assert train(experiment)[0] == 60
    assert train(replace(experiment, **changed))[0] == 60


@pytest.mark.slow
def test_stored_features_give_what_the_whole_model_predicts(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    draw(folder, range(80))
    experiment = Experiment(str(folder), **SETTINGS)
    parts = loading.split_images(experiment, loading.load_images(experiment))
    cache = tlkit.Cache(folder=tmp_path / "features")
    stored = runner.train(experiment, parts, cache=cache, verbose=False)
    plain = runner.train(experiment, parts, cache=tlkit.Cache(), verbose=False)
    for one, other in zip(stored.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    again = tlkit.evaluate(stored.model, parts.test, cache=cache).probabilities
    np.testing.assert_allclose(again, tlkit.predict(stored.model, parts.test), atol=1e-6)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_stops_nothing(train: Train, tmp_path: Path) -> None:
    draw(tmp_path / "photos", range(60))
    (tmp_path / "features").write_text("a file, where the folder should be")
    ran, usage, _ = train(Experiment(str(tmp_path / "photos"), **SETTINGS))
    assert ran > 0
    assert "from the cache; not stored for later: Can't write" in str(usage)


@pytest.mark.slow
def test_images_and_a_class_that_are_added_run_alone(train: Train, tmp_path: Path) -> None:
    old, new = tmp_path / "photos", tmp_path / "new"
    draw(old, range(100))
    draw(new, range(100, 160))
    (new / "right").rename(new / "middle")  # a new class
    experiment = Experiment(str(old), **SETTINGS)
    assert train(experiment)[0] == 100
    assert train(replace(experiment, add=(str(new),)))[0] == 60
    before = loading.split_images(experiment, loading.load_images(experiment))
    joined = loading.load_images(replace(experiment, add=(str(new),)))
    after = loading.split_images(experiment, joined)
    assert joined.class_names == ("left", "middle", "right")
    assert joined.counts == {"left": 80, "middle": 30, "right": 50}
    assert set(before.test.paths) <= set(after.test.paths)  # no image changes its part
    assert sum(after.test.added) + sum(after.train.added) == 60
    assert "../new/middle/00101.png" in joined.paths


@pytest.mark.slow
def test_a_run_shows_old_and_new_images_side_by_side(tmp_path: Path) -> None:
    old, new = tmp_path / "photos", tmp_path / "new"
    draw(old, range(100))
    draw(new, range(100, 160))
    (new / "right").rename(new / "middle")
    said: list[str] = []
    result = runner.run(
        Experiment(str(old), add=(str(new),), **SETTINGS),
        tmp_path / "run",
        cache=tlkit.Cache(folder=tmp_path / "features"),
        on_message=lambda message: said.append(str(message)),
    )
    names = ["old images", "new images of old classes", "images of new classes"]
    assert [row.images for row in result.additions.rows] == names
    assert sum(row.num_test for row in result.additions.rows) == len(result.split.test)
    assert [row.before is None for row in result.additions.rows] == [False, True, True]
    assert "features: ran 160 of 160 images, 0 from the cache" in said
    page = (tmp_path / "run" / "report.md").read_text()
    assert "| images of new classes |" in page
    assert f"added 60 images of {new}" in said[0]
    tlkit.experiments.report(tmp_path / "run")
    assert "| images of new classes |" in (tmp_path / "run" / "report.md").read_text()
