"""Experiments on MNIST by name, and on .npz files."""

import csv
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tlkit
from tlkit.cli.app import main
from tlkit.errors import ConfigError, DownloadError
from tlkit.experiments import Experiment, loading


def _arrays(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of ten classes, which a bright row tells apart."""
    labels = np.arange(count) % 10
    images = np.random.default_rng(seed).integers(0, 40, (count, 28, 28)).astype("uint8")
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 4] = 250
    return images, labels.astype("uint8")


@pytest.fixture
def mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small set in place of the download."""
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: (_arrays(200, 0), _arrays(40, 1))
    )


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    (x_train, y_train), (x_test, y_test) = _arrays(100, 0), _arrays(20, 1)
    path = tmp_path / "small.npz"
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


def test_the_described_experiment_runs_from_the_command_like_the_example(
    mnist: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    get = tlkit.experiments.recipes.get
    monkeypatch.setattr(
        tlkit.experiments.recipes,
        "get",
        lambda name, **settings: get(name, **settings, epochs=(1, 1)),
    )
    how = ["--recipe", "mnist_as_described", "--weights", "starter", "--out", "run"]
    assert main(["train", "--data", "mnist", *how]) == 0
    printed = capsys.readouterr().out
    assert "train 180, validation 20, test 40 (train and test as given" in printed
    assert "validation taken from train" in printed
    assert "val_loss" in printed
    history = list(csv.DictReader(Path("run", "history.csv").read_text().splitlines()))
    assert [row["phase"] for row in history] == ["head", "fine_tune"]
    assert all(float(row["val_loss"]) > 0 for row in history)
    files = {path.name for path in Path("run").iterdir()}
    assert {"report.html", "report.md", "portfolio.md", "portfolio.png", "model.keras"} <= files
    report = Path("run", "report.md").read_text()
    assert "were not searched for duplicates" in report
    assert "Adam" in report
    assert "1e-05" in report
    assert "They served to follow the training" in report
    rows = list(csv.DictReader(Path("run", "split.csv").read_text().splitlines()))
    assert [
        sum(row["part"] == name for row in rows) for name in ("train", "validation", "test")
    ] == [180, 20, 40]
    config = json.loads(Path("run", "config.json").read_text())
    assert config["experiment"]["data"] == config["making"]["data"] == "mnist"
    assert config["experiment"]["channels"] == 1
    assert config["experiment"]["image_size"] == 32
    model = tlkit.load("run/model.keras")
    assert model.input_shape[-1] == 1

    assert main(["report", "run"]) == 0  # the images are found again by name
    capsys.readouterr()
    assert main(["evaluate", "run", "mnist", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["count"] == 40
    assert again["accuracy"] == json.loads(Path("run", "metrics.json").read_text())["accuracy"]


def test_validation_images_are_training_images_that_are_held_out(mnist: None) -> None:
    experiment = loading.resolve(Experiment("mnist", weights="starter", validation=0.25))
    images = loading.load_images(experiment)
    parts = loading.split_images(experiment, images)
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [150, 50, 40]
    assert all(path.startswith("train/") for path in parts.validation.paths)
    assert not set(parts.train.paths) & set(parts.validation.paths)
    assert set(parts.validation.counts.values()) == {5}
    np.testing.assert_array_equal(parts.test.images[..., 0], _arrays(40, 1)[0])
    assert parts.own_parts == ("train", "test")


def test_an_npz_file_is_read_like_mnist(npz: Path) -> None:
    experiment = loading.resolve(Experiment(str(npz), weights="starter"))
    parts = loading.split_images(experiment, loading.load_images(experiment))
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [90, 10, 20]
    assert parts.train.name == "small"


def test_a_folder_of_that_name_is_a_folder(
    mnist: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mnist").mkdir()
    with pytest.raises(ConfigError, match="got 'mnist' with no folder"):
        loading.load_images(Experiment("mnist", weights="starter"))


@pytest.mark.parametrize(
    ("settings", "option"), [({"folds": 3}, "folds"), ({"test_data": "photos"}, "test_data")]
)
def test_settings_of_folders_are_refused(mnist: None, settings: Any, option: str) -> None:
    with pytest.raises(ConfigError, match=f"`{option}` must be left out with 'mnist', which has"):
        loading.resolve(Experiment("mnist", weights="starter", **settings))


def test_a_wrong_name_is_answered_with_the_names(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="'fashion_mnist' or 'mnist'.*Did you mean 'mnist'"):
        loading.load_images(Experiment("minst", weights="starter"))


def test_offline_the_error_says_where_to_put_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DownloadError("Can't download the MNIST data set: no network. Give the path.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tlkit.data.datasets, "bounded_downloads", fail)
    assert main(["train", "mnist", "--weights", "starter", "--out", "run"]) == 4
    assert "Can't download the MNIST data set" in capsys.readouterr().err


def test_digits_need_no_download_and_no_folder(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = loading.resolve(Experiment("digits", weights="starter"))
    data = loading.load_images(experiment)
    parts = loading.split_images(experiment, data)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [900, 100, 797]
    assert experiment.image_size == 32
    (tmp_path / "digits" / "a").mkdir(parents=True)  # a folder of that name is the user's own
    with pytest.raises(tlkit.errors.DataError):
        loading.load_images(Experiment("digits"))


def test_a_limited_run_finds_its_images_again(
    mnist: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    how = ["--weights", "starter", "--out", "run", "--limit", "50", "--seed", "3"]
    assert main(["train", "--data", "mnist", *how]) == 0
    assert "140 images left out by the limit" in capsys.readouterr().out
    config = json.loads(Path("run", "config.json").read_text())
    assert config["experiment"]["limit"] == 50
    rows = list(csv.DictReader(Path("run", "split.csv").read_text().splitlines()))
    trained = {row["path"] for row in rows if row["part"] == "train"}
    assert len(trained) == 50
    parts = tlkit.experiments.run_images.read_split("run")
    assert {*parts.train.paths} == trained
    assert [len(parts.validation), len(parts.test)] == [10, 40]
    report = Path("run", "report.md").read_text()
    assert "the test images are used as they were given" in report
    assert "Training was limited to 50 images, drawn at random from each class." in report
    assert main(["report", "run"]) == 0
    assert Path("run", "report.md").read_text() == report
    capsys.readouterr()
    assert main(["evaluate", "run", "mnist", "--part", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 50
    again = ["train", "--config", "run/config.json", "--out", "again", "--json"]
    assert main(again) == 0
    assert Path("again", "split.csv").read_text() == Path("run", "split.csv").read_text()
    assert main([*again[:-2], "few", "--limit", "9"]) == 2
    assert "`--limit` must be at least 10, one image for each class" in capsys.readouterr().err
