import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.experiments import compare_runs

EXAMPLE = Path(__file__).parent.parent / "examples" / "mnist_mobilenetv2.py"
WRITTEN = {
    "SHA256SUMS",
    "calibration.png",
    "config.json",
    "confusion.png",
    "curves.png",
    "history.csv",
    "metrics.json",
    "model.keras",
    "paper.md",
    "portfolio.md",
    "portfolio.png",
    "predictions.png",
    "references.bib",
    "report.html",
    "report.md",
    "split.csv",
    "summary.txt",
}


def _run(*arguments: str, home: Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*prefix, sys.executable, str(EXAMPLE), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_HOME": str(home)},
        cwd=home,
    )


@pytest.fixture
def no_network() -> tuple[str, ...]:
    prefix = ("unshare", "--map-root-user", "--net")
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine can't start a process without a network (unshare --net)")
    return prefix


def _mnist(path: Path) -> str:
    random = np.random.default_rng(0)
    arrays = {
        "x_train": random.integers(0, 256, (40, 28, 28), "uint8"),
        "y_train": np.arange(40) % 10,
        "x_test": random.integers(0, 256, (20, 28, 28), "uint8"),
        "y_test": np.arange(20) % 10,
    }
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.slow
def test_without_a_network_it_uses_installed_images_and_weights_and_prints_so(
    tmp_path: Path, no_network: tuple[str, ...]
) -> None:
    arguments = ("--epochs", "1", "1", "--limit", "64", "--out", "out")
    done = _run(*arguments, home=tmp_path, prefix=no_network)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stdout.splitlines() if "Downloads failed" in line]
    assert len(notes) == 1
    assert "scikit-learn digits (1,797 real images) in place of MNIST" in notes[0]
    assert "tlkit's starter weights (alpha 0.35) in place of ImageNet's" in notes[0]
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} >= WRITTEN
    report = (folder / "report.md").read_text("utf-8")
    assert "| all classes | 64 | 10 | 797 |" in report  # held out: a tenth, one of each class
    assert "The validation images were held out from training" in report
    for words in ("| optimizer | Adam |", "| loss | categorical cross-entropy |", "## Discussion"):
        assert words in report
    for name in ("metrics.json", "config.json"):
        assert "mobilenet_v2 starter" in json.loads((folder / name).read_text())["about"]
    config = json.loads((folder / "config.json").read_text())
    assert config["experiment"]["recipe"] == "few_images"
    assert config["experiment"]["recipe_options"] == ["batchnorm=frozen", "epochs=1,1"]
    _check_starter_stem(folder)
    lines = [line.split() for line in done.stdout.splitlines()]
    rows = {line[0]: line for line in lines if len(line) == 6 and line[4] == "s"}
    assert list(rows) == ["fast", "few_images"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert rows["few_images"][1] == f"{metrics['accuracy']:.2%}"
    assert "McNemar's test" in done.stdout
    [fast] = config["making"]["others"]
    assert rows["fast"][1] == f"{fast['accuracy']:.2%}"
    assert fast["accuracy"] > metrics["accuracy"]  # of one epoch each
    assert "| fast | " in report.partition("### Compared with other classifiers")[2]
    first, second = compare_runs([folder, shutil.copytree(folder, tmp_path / "copy")]).runs
    assert first.evaluation.accuracy == second.evaluation.accuracy == metrics["accuracy"]


@pytest.mark.slow
def test_mnist_without_a_network_is_an_error_that_says_where_to_put_the_file(
    tmp_path: Path, no_network: tuple[str, ...]
) -> None:
    started = time.monotonic()
    done = _run("--data", "mnist", "--out", "out", home=tmp_path, prefix=no_network)
    assert time.monotonic() - started < 60  # the time limit of a download has its own test
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("DownloadError: Can't download the MNIST")
    assert "--data path/to/mnist.npz" in done.stderr
    assert f"put mnist.npz where Keras looks, into '{tmp_path}/datasets'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_it_uses_an_mnist_file_and_weights_from_keras_home(
    tmp_path: Path, keras_home: Path
) -> None:
    out = tmp_path / "out"
    done = _run(
        *("--data", _mnist(tmp_path / "mnist.npz"), "--epochs", "1", "1", "--out", str(out)),
        *("--batchnorm", "train", "--seed", "3"),
        home=keras_home,
    )
    assert done.returncode == 0, done.stderr
    assert "Downloads failed" not in done.stdout
    config = json.loads((out / "config.json").read_text())
    settings = config["experiment"]
    assert (settings["weights"], settings["seed"]) == ("imagenet", 3)
    assert settings["recipe"] == "mnist_as_described"
    assert settings["recipe_options"] == ["batchnorm=train", "epochs=1,1"]
    with (out / "history.csv").open() as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["head", "fine_tune"]
    stem = tlkit.models.backbone_of(tlkit.load(out / "model.keras")).get_layer("Conv1")
    with h5py.File(next((keras_home / "models").iterdir())) as file:
        kept = file["Conv1"]["Conv1"]["kernel"][:]
    np.testing.assert_array_equal(stem.get_weights()[0], kept)  # frozen in both phases


def _check_starter_stem(folder: Path) -> None:
    stem = tlkit.models.backbone_of(tlkit.load(folder / "model.keras")).get_layer("Conv1")
    wanted = tlkit.models.backbones.create("mobilenet_v2", weights="starter").get_layer("Conv1")
    np.testing.assert_array_equal(stem.kernel, wanted.kernel)  # frozen in both phases


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        ((), "few_images"),
        (("--recipe", "mnist_as_described"), "mnist_as_described"),
    ],
)
def test_it_uses_the_starter_if_asked_to_even_with_imagenet_weights_at_hand(
    options: tuple[str, ...], recipe: str, tmp_path: Path, keras_home: Path
) -> None:
    folder = tmp_path / "out"
    arguments = ("--data", _mnist(tmp_path / "mnist.npz"), "--out", str(folder))
    done = _run(*arguments, "--weights", "starter", "--epochs", "1", "2", *options, home=keras_home)
    assert done.returncode == 0, done.stderr
    assert "Downloads failed" not in done.stdout
    config = json.loads((folder / "config.json").read_text())
    assert config["experiment"]["weights"] == "starter"
    assert config["experiment"]["recipe"] == recipe
    assert config["experiment"]["recipe_options"] == ["batchnorm=frozen", "epochs=1,2"]
    _check_starter_stem(folder)


def test_imagenet_without_a_network_is_an_error_that_names_the_starter(
    tmp_path: Path, no_network: tuple[str, ...]
) -> None:
    arguments = ("--data", _mnist(tmp_path / "mnist.npz"), "--weights", "imagenet", "--out", "out")
    done = _run(*arguments, home=tmp_path, prefix=no_network)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("DownloadError: Can't download imagenet weights")
    assert "weights='starter' (a small mobilenet_v2 that is part of tlkit)" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def example() -> Any:
    spec = importlib.util.spec_from_file_location("mnist_mobilenetv2", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def main(example: Any) -> Callable[[list[str]], Path]:
    return example.main


def test_a_folder_that_is_not_empty_is_refused_before_training(
    main: Callable[[list[str]], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old").write_text("mine")
    with pytest.raises(ConfigError, match="`folder` must be new or empty"):
        main(["--out", str(tmp_path)])
    assert capsys.readouterr().out == ""


def test_wrong_arguments_are_refused(
    main: Callable[[list[str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--recipe", "best"])
    assert "invalid choice: 'best'" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"`path` must be an .npz file, got 'nowhere.npz'"):
        main(["--data", "nowhere.npz"])
    with pytest.raises(ConfigError, match="epochs'` must be a whole number of at least 1, got 0"):
        main(["--epochs", "0", "5"])


@pytest.mark.slow
def test_fast_has_one_solved_phase(tmp_path: Path, keras_home: Path) -> None:
    folder = tmp_path / "out"
    arguments = ("--data", _mnist(tmp_path / "mnist.npz"), "--out", str(folder))
    done = _run(*arguments, "--weights", "starter", "--recipe", "fast", home=keras_home)
    assert done.returncode == 0, done.stderr
    assert "layers stay frozen; the last is" in done.stdout
    config = json.loads((folder / "config.json").read_text())
    assert config["experiment"]["recipe"] == "fast"
