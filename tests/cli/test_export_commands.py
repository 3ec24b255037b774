import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tests.samples import skip_without

from tlkit import experiments
from tlkit.cli import app, export_commands
from tlkit.deployment import Metadata, formats
from tlkit.deployment.metadata import PRECISIONS


def test_every_format_and_precision_can_be_chosen() -> None:
    assert get_args(export_commands.Format) == formats.names()
    assert get_args(export_commands.Precision) == PRECISIONS


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, with an export in it."""
    skip_without("litert")
    run = shutil.copytree(trained, tmp_path_factory.mktemp("exported") / "digits")
    assert app.main(["export", str(run), "--format", "litert"]) == app.DONE
    return run / "exports" / "model.tflite"


def test_an_exported_file_takes_the_place_of_a_run(
    exported: Path, trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    answers = []
    for model in (trained, exported):
        assert app.main(["evaluate", str(model), str(photos), "--json"]) == app.DONE
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["confusion"] == answers[1]["confusion"]
    assert answers[0]["loss"] == pytest.approx(answers[1]["loss"], abs=1e-4)
    tables = []
    for number, model in enumerate((trained, exported)):
        table = tmp_path / f"{number}.csv"
        words = [str(model), str(photos), "--csv", str(table), "--top", "2"]
        assert app.main(["predict", *words]) == app.DONE
        tables.append([line.split(",") for line in table.read_text().splitlines()])
    for one, other in zip(*tables, strict=True):
        assert [one[at] for at in (0, 1, 3)] == [other[at] for at in (0, 1, 3)]
    scores = [[float(row[5]) for row in rows[1:]] for rows in tables]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    capsys.readouterr()
    words = ["evaluate", str(exported), str(photos), "--assert-accuracy", "0.5"]
    assert app.main(words) == app.WRONG_DATA  # most of these images were trained on
    assert app.main([*words, "--part", "test"]) == app.DONE
    capsys.readouterr()
    assert app.main(["compare", str(trained), str(exported), "--data", str(photos)]) == app.DONE
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.split()[1:3] == second.split()[1:3]
    assert second.split()[-4:] == ["+0.00", "±", second.split()[-2], "1"]


def test_an_exported_file_predicts_without_keras(exported: Path, photos: Path) -> None:
    code = (
        "import sys\nfrom tlkit.cli import app\n"
        "assert app.main(['predict', *sys.argv[1:]]) == app.DONE\n"
        "assert 'keras' not in sys.modules, 'keras was imported'\n"
    )
    words = [sys.executable, "-c", code, str(exported), str(photos / "digit 1")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "digit 1 (" in done.stdout


def test_the_file_names_its_run_and_the_proof_is_beside_it(exported: Path, trained: Path) -> None:
    facts = json.loads(exported.with_name("model.tflite.json").read_text())
    content = (trained / "model.keras").read_bytes()
    assert facts["source_sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["run_id"].startswith("digits-")
    assert facts["fit"] == "squash"
    proof = facts["proof"]
    assert proof["comparison"]["accuracies"][0] == proof["comparison"]["accuracies"][1]
    metrics = json.loads((trained / "metrics.json").read_text())
    assert proof["comparison"]["accuracies"][0] == pytest.approx(metrics["accuracy"])
    assert Metadata(**{k: v for k, v in facts.items() if k != "proof"}).format == "litert"


def test_the_proof_is_in_the_report_of_the_run(exported: Path) -> None:
    run = exported.parents[1]
    (record,) = json.loads((run / "exports.json").read_text())["exports"]
    assert (record["file"], record["format"]) == ("exports/model.tflite", "litert")
    facts = json.loads(exported.with_name("model.tflite.json").read_text())
    assert record["proof"] == facts["proof"]
    report = (run / "report.md").read_text()
    line = next(line for line in report.splitlines() if line.startswith("| exports/model.tflite"))
    assert f"| float32 | {facts['proof']['num_images']} | " in line
    assert "exports/model.tflite" in (run / "report.html").read_text()


def test_what_an_exported_file_cannot_do_is_said(
    exported: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["audit", str(exported), str(photos)], "an exported file can be evaluated and predict"),
        (
            ["predict", str(exported), str(photos), "--coverage", "0.9"],
            "`--coverage` must be left out for an exported file",
        ),
        (["predict", str(tmp_path / "missing.onnx"), str(photos)], "no such file"),
        (["export", str(tmp_path), "--format", "onnx"], "it has no model.keras"),
        (["export", str(tmp_path)], "`--format` must be set, or `--out`"),
        (
            ["export", str(tmp_path), "--format", "onnx", "--out", "a.tflite"],
            "`--out` must end in .onnx for the format 'onnx', got 'a.tflite'",
        ),
        (
            ["export", str(exported.parents[1]), "--format", "onnx", "--precision", "int8"],
            "`--precision` must be one of ['float32'], got 'int8'",
        ),
    ):
        assert app.main(words) == app.WRONG_ARGUMENTS
        assert message in capsys.readouterr().err


def test_a_run_without_its_images_is_compared_on_random_pixels(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without("litert")
    run = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["data"] = config["making"]["data"] = "no longer here"
    (run / "config.json").write_text(json.dumps(config))
    experiments.verify_run(run, accept=True)
    words = ["export", str(run), "--format", "litert"]
    assert app.main([*words, "--max-drop", "0.1"]) == app.WRONG_ARGUMENTS
    assert app.main([*words, "--precision", "int8"]) == app.WRONG_ARGUMENTS
    capsys.readouterr()
    assert app.main(words) == app.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"loading {run}", "reading the images of the run"]
    assert lines[2].startswith("compared on random pixels, without the run's test images")
    assert lines[3:5] == [
        "writing the file: litert, float32",
        "comparing the file with the classifier, in another process",
    ]


@pytest.mark.slow
def test_an_int8_file_that_is_too_much_worse_has_its_own_exit_code(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without("litert")
    run = shutil.copytree(trained, tmp_path / "run")
    words = ["export", str(run), "--format", "litert", "--precision", "int8", "--max-drop", "0"]
    out = tmp_path / "model.tflite"
    assert app.main([*words, "--out", str(out)]) in (app.DONE, app.TOO_LOW)
    assert out.exists() == ("less accurate" not in capsys.readouterr().err)
