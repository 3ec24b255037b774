"""A multi-label experiment from a table to its report, and what the commands do with the run."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.cli import app
from tlkit.errors import ConfigError
from tlkit.experiments.experiment import Experiment


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with a red, a green and a blue square, or without any of them."""
    folder = tmp_path_factory.mktemp("squares")
    random = np.random.default_rng(0)
    with (folder / "squares.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "red", "green", "blue"))
        for index in range(120):
            pixels, row = random.integers(0, 90, (32, 32, 3), "uint8"), random.integers(0, 2, 3)
            for channel in np.flatnonzero(row):
                top, left = random.integers(0, 20, 2)
                pixels[top : top + 12, left : left + 12, channel] = 255
            Image.fromarray(pixels).save(folder / f"{index}.png")
            names = [name for name, has in zip(("red", "green", "blue"), row, strict=True) if has]
            writer.writerow((f"{index}.png", ";".join(names), *row))
    return folder / "squares.csv"


@pytest.fixture(scope="module")
def outcome(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, str]:
    out = tmp_path_factory.mktemp("runs") / "run"
    experiment = Experiment(
        table, label_separator=";", image_size=32, weights="starter", validation=0.3, test=0.3
    )
    said: list[str] = []
    found = tlkit.experiments.run(experiment, out, on_message=lambda text: said.append(str(text)))
    return out, found, "\n".join(said)


def test_the_classifier_learns_and_says_what_it_chose(outcome: tuple[Path, Any, str]) -> None:
    _, found, said = outcome
    assert found.evaluation.mean_average_precision > 0.8
    assert tlkit.models.class_names(found.trained.model) == ("blue", "green", "red")
    assert "images have several classes" in said
    assert "thresholds of 3 of 3 classes chosen for the highest F1" in said


def test_the_report_states_it(outcome: tuple[Path, Any, str]) -> None:
    folder, found, _ = outcome
    text = (folder / "report.md").read_text()
    assert "| mean average precision (mAP) |" in text
    assert "The thresholds were chosen for the highest F1 on the validation images" in text
    assert (folder / "classes.png").exists() and not (folder / "confusion.png").exists()
    assert "could not be drawn" not in text
    assert sum(found.to_dict()["images"].values()) == 120
    assert (
        "softmax" not in text and "Mean average precision" in (folder / "summary.txt").read_text()
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["mean_average_precision"] == found.evaluation.mean_average_precision
    assert json.loads((folder / "config.json").read_text())["experiment"]["label_separator"] == ";"


def test_the_report_can_be_written_again(outcome: tuple[Path, Any, str]) -> None:
    folder = outcome[0]
    before = (folder / "report.md").read_text()
    tlkit.experiments.report(folder)
    assert (folder / "report.md").read_text() == before


def test_predict_names_the_classes_above_their_thresholds(
    outcome: tuple[Path, Any, str], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, found, _ = outcome
    model = found.trained.model
    assert app.main(["predict", str(folder), str(table.parent), "--top", "3", "--json"]) == app.DONE
    rows = json.loads(capsys.readouterr().out)["predictions"]
    least = dict(zip(tlkit.models.class_names(model), tlkit.models.thresholds(model), strict=True))
    for row in rows:
        expected = {each["class"] for each in row["classes"]
                    if each["probability"] >= least[each["class"]]}  # fmt: skip
        assert set(row["labels"]) == expected
    assert any(len(row["labels"]) > 1 for row in rows) and any(not row["labels"] for row in rows)


def test_a_table_of_predictions_has_the_labels(
    outcome: tuple[Path, Any, str], table: Path, tmp_path: Path
) -> None:
    tlkit.experiments.write_predictions(outcome[0], table.parent, csv=tmp_path / "p.csv")
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "labels", "label", "probability", "problem"]
    assert any("|" in row["labels"] for row in rows)


def test_evaluate_reads_labels_as_training_did_or_from_columns(
    outcome: tuple[Path, Any, str], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for more in ([], ["--label-columns", "red", "green", "blue"]):
        words = ["evaluate", str(outcome[0]), str(table), *more, "--json"]
        assert app.main(words) == app.DONE
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]
    words = ["evaluate", str(outcome[0]), str(table), "--part", "test", "--assert-accuracy", "1"]
    assert app.main(words) == app.TOO_LOW


def test_audit_and_stratify_are_refused(outcome: tuple[Path, Any, str], table: Path) -> None:
    assert app.main(["audit", str(outcome[0]), str(table)]) == app.WRONG_ARGUMENTS
    words = ["inspect", str(table), "--label-separator", ";", "--stratify", "--weights", "starter"]
    assert app.main([*words, "--image-size", "32"]) == app.WRONG_ARGUMENTS


def test_settings_of_labels_are_those_of_tables(photos: Path) -> None:
    experiment = Experiment(photos, label_columns=("a", "b"))
    with pytest.raises(ConfigError, match="`label_columns` can only be used with a table"):
        tlkit.experiments.loading.load_images(experiment)
    assert Experiment.from_dict(experiment.to_dict()) == experiment
    for settings in ({"folds": 5}, {"add": ("more",)}):
        with pytest.raises(ConfigError, match="must be left out where images can have several"):
            Experiment(photos, label_separator="|", **settings)
    with pytest.raises(ConfigError, match="`label_columns` must be a list of names"):
        Experiment.from_dict({"data": "x", "label_columns": "a"})
