"""A training on a cluster of two cores is that of one machine, and goes on after a stop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit import datasets
from tlkit.caching import Cache
from tlkit.data.digests import to_numbers
from tlkit.data.image_dataset import ImageDataset
from tlkit.distributed import open_features
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.feature_set import read_file
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.head_features import HeadFeatures
from tlkit.experiments import (
    Experiment,
    ExperimentResult,
    cluster_epochs,
    cluster_saving,
    cluster_training,
    recipes,
    report,
    run,
    run_images,
    run_saving,
    verify_run,
)
from tlkit.experiments.loading import load_images
from tlkit.models.inspection import head_of, probabilities_of
from tlkit.training import ood_detector

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

CACHE = Cache(engine="keras", dtype="float16")
SETTINGS: dict[str, Any] = {"weights": "starter", "image_size": 32, "seed": 3, "test": 0.3}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 240 digits, with a copy of one of them."""
    folder = tmp_path_factory.mktemp("digits")
    found = datasets.digits().train
    for number in range(240):
        place = folder / f"digit {found.labels[number]}"
        place.mkdir(exist_ok=True)
        pixels = (found.images[number] * 255 / 16).astype("uint8").squeeze()
        Image.fromarray(pixels).save(place / f"{number:03}.png")
    copied = next((folder / "digit 1").iterdir())
    (folder / "digit 1" / "copy.png").write_bytes(copied.read_bytes())
    return folder


def _train(data: Path, out: Path, **settings: Any) -> ExperimentResult:
    experiment = Experiment(str(data), cluster="local", **{**SETTINGS, **settings})
    return run(experiment, out, cache=CACHE)


@pytest.fixture(scope="module")
def finished(
    cluster: None, digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExperimentResult:
    """A run on the cluster, in parts of 50 images, with a sample of 20 test images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_epochs, "PART_ROWS", 50)
        patch.setattr(cluster_training, "MAX_SAMPLE", 20)
        return _train(digits, tmp_path_factory.mktemp("runs") / "run", validation=0.1)


@pytest.fixture(scope="module")
def parts(digits: Path) -> dict[str, ImageDataset]:
    """The same images on one machine, divided in the same way."""
    source = load_images(Experiment(str(digits), **SETTINGS))
    contents = to_numbers(scan.digest for scan in source.scans)
    drawn = DrawnSplit(test=0.3, validation=0.1, seed=3).divide(contents)
    named = zip(("train", "validation", "test"), range(3), strict=True)
    return {name: source.take(np.flatnonzero(drawn == number)) for name, number in named}


def test_head_and_features_are_those_of_one_machine(
    finished: ExperimentResult, parts: dict[str, ImageDataset]
) -> None:
    recipe = recipes.get("fast")
    expected = recipe.train(
        parts["train"], image_size=(32, 32), weights="starter", seed=3, cache=CACHE, verbose=False
    ).model
    found = finished.trained.model
    largest = np.abs(head_of(expected).kernel).max()
    np.testing.assert_allclose(head_of(found).kernel, head_of(expected).kernel, atol=1e-4 * largest)
    features = open_features(finished.folder / "features")
    contents, rows = [], []
    for file in features.locations:
        x, images = read_file(file)
        contents += images.paths
        rows.append(x)
    by_path = dict(zip(contents, np.concatenate(rows), strict=True))
    one = HeadFeatures(expected, CACHE).read(parts["train"].images)
    other = np.stack([by_path[path] for path in parts["train"].paths])
    np.testing.assert_array_equal(other.astype("float32"), one.astype("float32"))
    assert ood_detector.from_arrays(probabilities_of(found).stored) is not None


def test_metrics_of_all_test_images_are_those_of_one_machine(
    finished: ExperimentResult, parts: dict[str, ImageDataset]
) -> None:
    counts = {name: len(part) for name, part in parts.items()}
    assert finished.to_dict()["images"] == counts
    expected = tlkit.evaluate(finished.trained.model, parts["test"])
    found = finished.evaluation
    assert found.count == counts["test"]
    assert found.loss == pytest.approx(expected.loss, abs=2e-3)  # features have 16 bits
    np.testing.assert_allclose(found.confusion, expected.confusion, atol=1)
    assert len(found.probabilities) == len(finished.split.test) == 20
    at = [parts["test"].paths.index(path) for path in finished.split.test.paths]
    np.testing.assert_allclose(found.probabilities, expected.probabilities[at], atol=2e-3)


def test_the_run_is_like_every_run(
    finished: ExperimentResult, parts: dict[str, ImageDataset]
) -> None:
    folder = finished.folder
    text = (folder / "report.md").read_text()
    assert "show a sample of 20 test images" in text
    assert "The images were not searched for similar ones" in text
    split = run_images.read_split(folder)
    for name, part in parts.items():
        assert getattr(split, name).paths == part.paths
    report(folder)
    again = (folder / "report.md").read_text()
    assert _find_numbers(again) == _find_numbers(text)  # of all test images, not of the sample
    assert "show a sample of 20 test images" in again
    assert verify_run(folder)


def _find_numbers(report: str) -> list[str]:
    """Return the lines of a report with the accuracy, its interval and the number of images."""
    found = [line for line in report.splitlines() if line.startswith("- ") and line.endswith("**")]
    assert len(found) == 4
    return found


@pytest.mark.usefixtures("cluster")
def test_a_run_that_was_stopped_goes_on(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_saving, "MAX_LISTED", 10)
    monkeypatch.setattr(run_saving, "write_report", lambda *_: None)  # it takes most of the time
    survey = cluster_training.drawn_split.survey

    def stop(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster_training.drawn_split, "survey", stop)
    with pytest.raises(KeyboardInterrupt, match="Run the same again to go on"):
        _train(digits, tmp_path / "run")
    monkeypatch.setattr(cluster_training.drawn_split, "survey", survey)
    with pytest.raises(ConfigError, match="holds an unfinished run of other settings"):
        _train(digits, tmp_path / "run", seed=4)
    found = _train(digits, tmp_path / "run")
    assert found.divided is not None
    assert found.divided.features["num_computed"] == 0
    rows = (tmp_path / "run" / "split.csv").read_text().splitlines()
    assert len(rows) == 1 + found.evaluation.count  # too many images to list all
    assert {row.partition(",")[0] for row in rows[1:]} == {"test"}
    assert report(tmp_path / "run")


@pytest.mark.usefixtures("cluster")
def test_unreadable_images_are_listed_or_left_out(digits: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for file in sorted(digits.rglob("*.png"))[:120]:
        (photos / file.parent.name).mkdir(parents=True, exist_ok=True)
        (photos / file.parent.name / file.name).write_bytes(file.read_bytes())
    (photos / "digit 1" / "broken.png").write_bytes(b"not an image")
    (photos / "stray.png").write_bytes(b"")
    place = {"cluster_folder": str(tmp_path / "shared")}
    with pytest.raises(DataError, match="2 problems found: stray.png: not in the folder") as caught:
        _train(photos, tmp_path / "run", **place)
    assert "digit 1/broken.png: " in str(caught.value)
    found = _train(photos, tmp_path / "other", unreadable="skip", **place)
    assert found.divided is not None
    assert [path for path, _ in found.divided.problems] == ["stray.png", "digit 1/broken.png"]
    assert found.divided.features["num_computed"] == 0  # they were stored by the run that failed
    assert "digit 1/broken.png" in (tmp_path / "other" / "report.md").read_text()
    with pytest.raises(ConfigError, match="`cluster_folder` must be a folder of features of the"):
        _train(photos, tmp_path / "larger", unreadable="skip", image_size=40, **place)


@pytest.mark.usefixtures("cluster")
def test_images_that_are_no_folder_of_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`data` must be a folder of classes, or a Parquet file"):
        _train(tmp_path / "none.csv", tmp_path / "run")
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "one" / "cat" / "1.png")
    with pytest.raises(DataError, match="must have images of at least 2 classes"):
        _train(tmp_path / "one", tmp_path / "run")
    assert not (tmp_path / "run" / "state.json").exists()


@pytest.mark.usefixtures("cluster")
def test_a_folder_with_test_images_keeps_them(digits: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted(digits.rglob("*.png"))[:150]):
        place = tmp_path / "photos" / ("test" if number % 3 == 0 else "train") / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / file.name).write_bytes(file.read_bytes())
    found = _train(tmp_path / "photos", tmp_path / "run")
    assert found.to_dict()["images"] == {"train": 100, "validation": 0, "test": 50}
    assert {path.partition("/")[0] for path in found.split.test.paths} == {"test"}
    text = (tmp_path / "run" / "report.md").read_text()
    assert "The split is the user's own: the train and test images are used" in text
    assert "The images were not searched for duplicates." in text


class _Recorder(keras.callbacks.Callback):
    """Records the loss of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        self.losses.append(logs["loss"])


def _stop_at(start: str) -> Callable[[object], None]:
    """Return a function that stops the run at a line that starts like this."""

    def stop(line: object) -> None:
        if str(line).startswith(start):
            raise KeyboardInterrupt

    return stop


@pytest.mark.usefixtures("cluster")
def test_a_run_that_was_stopped_in_each_phase_ends_as_one_that_nothing_stopped(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax", reason="the extra 'jax' is not installed")
    settings: dict[str, Any] = {"recipe": "few_images", "recipe_options": ("epochs=2,2",)}
    experiment = Experiment(str(digits), cluster="local", validation=0.1, **SETTINGS, **settings)
    undisturbed = run(experiment, tmp_path / "undisturbed", cache=CACHE)
    for line in ("head 2/2: ", "fine_tune 1/2: "):  # after the head, and within fine-tuning
        with pytest.raises(KeyboardInterrupt, match="Run the same again to go on"):
            run(experiment, tmp_path / "run", cache=CACHE, on_message=_stop_at(line))
    lines: list[str] = []
    recorder = _Recorder()
    found = run(
        experiment,
        tmp_path / "run",
        cache=CACHE,
        callbacks=[recorder],
        on_message=lambda line: lines.append(str(line)),
    )
    trained = [line.partition(":")[0] for line in lines if "/2: " in line]
    assert trained == ["fine_tune 2/2"]  # no epoch is trained again
    phases = found.trained.run.phases
    assert [(phase.name, phase.num_epochs) for phase in phases] == [("head", 2), ("fine_tune", 2)]
    for phase, other in zip(phases, undisturbed.trained.run.phases, strict=True):
        for name, values in other.history.items():
            np.testing.assert_allclose(phase.history[name], values, rtol=1e-5)
    pairs = zip(found.trained.model.weights, undisturbed.trained.model.weights, strict=True)
    for weight, expected in pairs:
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)
    assert recorder.losses == [*phases[0].history["loss"], *phases[1].history["loss"]]
    assert phases[1].history["loss"][-1] < phases[0].history["loss"][0]
    assert "val_accuracy" in phases[1].history
    evaluated = tlkit.evaluate(found.trained.model, found.split.test)
    assert found.evaluation.accuracy == pytest.approx(evaluated.accuracy, abs=0.02)
    assert found.evaluation.loss == pytest.approx(evaluated.loss, rel=0.02)
    assert ood_detector.from_arrays(probabilities_of(found.trained.model).stored) is not None
    assert "fine_tune" in (tmp_path / "run" / "metrics.json").read_text()
    assert verify_run(tmp_path / "run")


@pytest.mark.usefixtures("cluster")
def test_fewer_images_than_in_a_step_are_trained_as_on_one_machine(
    digits: Path, tmp_path: Path
) -> None:
    pytest.importorskip("jax", reason="the extra 'jax' is not installed")
    for name in ("digit 0", "digit 1"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for file in sorted((digits / name).glob("0*.png"))[:9]:
            (tmp_path / "photos" / name / file.name).write_bytes(file.read_bytes())
    experiment = Experiment(
        str(tmp_path / "photos"),
        cluster="local",
        recipe="few_images",
        recipe_options=("epochs=2,2",),
        **SETTINGS,
    )
    cache = replace(CACHE, dtype="float32")
    found = run(experiment, tmp_path / "run", cache=cache).trained
    source = load_images(experiment)
    contents = to_numbers(scan.digest for scan in source.scans)
    drawn = DrawnSplit(test=0.3, validation=0.0, seed=3).divide(contents)
    train = source.take(np.flatnonzero(drawn == 0))
    assert len(train) < 32  # in a step
    recipe = recipes.get("few_images", epochs=(2, 2))
    how: dict[str, Any] = {"image_size": (32, 32), "weights": "starter", "seed": 3}
    expected = recipe.train(train, cache=cache, verbose=False, **how).run.phases
    for phase, other in zip(found.run.phases, expected, strict=True):
        for metric in ("loss", "accuracy"):
            np.testing.assert_allclose(phase.history[metric], other.history[metric], rtol=1e-3)
