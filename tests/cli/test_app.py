import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import rich.console
from PIL import Image

import tlkit
from tlkit.cli import app, experiment_commands
from tlkit.cli.options import DEFAULT_OUTPUT
from tlkit.errors import Argument
from tlkit.training import trackers


def test_train_writes_model_figures_and_report(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"model.keras", "metrics.json", "config.json", "report.html", "report.md"} <= names
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    config = json.loads((trained / "config.json").read_text())
    assert config["experiment"]["image_size"] == 32
    assert config["experiment"]["validation"] == 0.2
    assert config["making"]["command"].startswith("tlkit train ")
    report = (trained / "report.html").read_text()
    assert f"{100 * metrics['accuracy']:.1f}" in report
    assert "digit 2" in report


def test_a_runs_own_config_repeats_it(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    config = str(trained / "config.json")
    assert app.main(["train", "--config", config, "--out", str(out), "--json"]) == app.DONE
    first, again = (json.loads((folder / "metrics.json").read_text()) for folder in (trained, out))
    assert first["accuracy"] == again["accuracy"]
    assert first["loss"] == pytest.approx(again["loss"], rel=1e-4)


def test_the_classifier_of_a_run_takes_images_of_any_size(trained: Path, photos: Path) -> None:
    model = tlkit.load(trained / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 61, 3), "uint8")
    assert model.predict(images, verbose=0).shape == (2, 3)
    assert "which takes images of any size" in (trained / "report.md").read_text()
    config = json.loads((trained / "config.json").read_text())
    size = config["experiment"]["image_size"]
    file = next(photos.rglob("*.png"))
    decoded = tlkit.sources.from_folder(photos, image_size=size)
    row = decoded.images[[decoded.paths.index(str(file.relative_to(photos)))]]
    np.testing.assert_array_equal(tlkit.predict(model, file), tlkit.predict(model, row))


def test_report_writes_the_same_report_again(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    for name in ("report.html", "report.md"):
        (copy / name).unlink()
    capsys.readouterr()
    assert app.main(["report", str(copy)]) == app.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"loading {copy}"
    assert re.fullmatch(r"evaluating \d+ test images", lines[1])
    assert lines[2] == "drawing the report"
    assert (copy / "report.md").read_text() == (trained / "report.md").read_text()
    assert (copy / "report.html").is_file()
    named = ["--title", "Digits by hand", "--authors", "A. Ng", "Y. Li"]
    assert app.main(["report", str(copy), *named]) == app.DONE
    for name in ("report.md", "report.html", "portfolio.md"):
        assert "Digits by hand" in (copy / name).read_text(encoding="utf-8")
    assert "Y. Li" in (copy / "report.md").read_text(encoding="utf-8")
    assert app.main(["report", str(copy), "--title", " "]) == app.WRONG_ARGUMENTS
    assert "`--title` must be text in one line, got ' '" in capsys.readouterr().err
    assert app.main(["report", str(tmp_path)]) == app.WRONG_ARGUMENTS


@pytest.fixture
def moved(trained: Path, photos: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the run, and a copy of its images, which only config["making"] names."""
    images = shutil.copytree(photos, tmp_path / "images" / photos.name)
    run = shutil.copytree(trained, tmp_path / "moved")
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["data"] = "no longer here"
    config["making"]["data"] = str(images)
    (run / "config.json").write_text(json.dumps(config))
    tlkit.experiments.verify_run(run, accept=True)
    return run, images


def test_report_uses_the_images_of_the_run_even_if_others_were_added(
    moved: tuple[Path, Path], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, images = moved
    for file in sorted(images.rglob("*.png")):
        Image.open(file).save(file.with_suffix(".bmp"))  # near-duplicates would move whole groups
    assert app.main(["report", str(run)]) == app.DONE
    assert (run / "report.md").read_text() == (trained / "report.md").read_text()
    tested = next(line for line in (run / "split.csv").read_text().splitlines() if "test," in line)
    (images / tested.split(",")[1]).unlink()
    assert app.main(["report", str(run)]) == app.WRONG_DATA
    assert "1 of 298 missing or changed" in capsys.readouterr().err


def test_a_run_inside_its_images_is_refused(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(photos), "--out", str(photos / "run"), "--weights", "starter"]
    assert app.main(words) == app.WRONG_ARGUMENTS
    assert "`--out` must be outside the folder of images" in capsys.readouterr().err
    assert not (photos / "run").exists()


def test_predict_reports_damaged_files_and_classifies_the_others(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "some"
    (folder / "deep.png").mkdir(parents=True)
    shutil.copy(next((photos / "digit 1").iterdir()), folder / "deep.png" / "one.png")
    (folder / "._one.png").write_bytes(b"what a Mac leaves")
    (folder / "cut.png").write_bytes(b"")
    assert app.main(["predict", str(trained), str(folder), "--json"]) == app.DONE
    damaged, intact = json.loads(capsys.readouterr().out)["predictions"]
    assert damaged == {"path": str(folder / "cut.png"), "problem": "it is empty"}
    assert intact["classes"][0]["class"] == "digit 1"
    (folder / "deep.png" / "one.png").unlink()
    assert app.main(["predict", str(trained), str(folder)]) == app.WRONG_DATA
    assert app.main(["predict", str(trained), str(folder), "--top", "0"]) == app.WRONG_ARGUMENTS
    assert "`--top` must be a whole number of at least 1" in capsys.readouterr().err


def test_predict_and_embed_write_tables(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "p.csv"
    words = [str(trained), str(photos / "digit 1"), str(trained / "none.png")]
    assert app.main(["predict", *words, "--csv", str(table), "--top", "2", "--json"]) == app.DONE
    count = len(list((photos / "digit 1").iterdir()))
    assert json.loads(capsys.readouterr().out) == {
        "images": count,
        "unreadable": 1,
        "tables": [str(table)],
    }
    header, *rows = table.read_text().splitlines()
    assert header == "path,label,probability,label_2,probability_2,ood_score,is_unlike,problem"
    assert rows[-1].endswith("none.png,,,,,,,there is no such file")
    assert sum(",digit 1," in row for row in rows) > 0.9 * count
    assert app.main(["predict", *words, "--csv", str(tmp_path / "p.txt")]) == app.WRONG_ARGUMENTS
    assert "`--csv` must be a .csv file in an existing folder" in capsys.readouterr().err
    out = tmp_path / "f.npz"
    assert app.main(["embed", *words, "--out", str(out)]) == app.DONE
    missing = f"unreadable: {trained / 'none.png'}: there is no such file"
    assert capsys.readouterr().out == (
        f"wrote {out}: {count} images, one unreadable file\n{missing}\n"
    )
    assert out.is_file()


@pytest.mark.parametrize("command", ["evaluate", "report", "audit", "predict"])
def test_every_command_accepts_the_config_of_a_run(
    moved: tuple[Path, Path], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "audit":
        pytest.importorskip("cleanlab")
    run, images = moved
    words = [command, "--config", str(run / "config.json"), "--json"]
    if command == "predict":
        words[1:1] = [str(run), str(images / "digit 0")]
    assert app.main(words) == app.DONE
    found = json.loads(capsys.readouterr().out)
    if command == "evaluate":
        assert sum(map(sum, found["confusion"])) == len(list(images.rglob("*.png")))


def test_a_config_file_gives_the_options_that_are_not_typed(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((photos / "digit 1").iterdir())
    values = {"model": str(trained), "files": [str(file)], "top": 2, "json": True}
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    for typed, count in (([], 2), (["--top", "1"], 1)):
        assert app.main(["predict", "--config", str(path), *typed]) == app.DONE
        [prediction] = json.loads(capsys.readouterr().out)["predictions"]
        assert len(prediction["classes"]) == count


def test_a_config_file_may_be_yaml(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "c.yaml"
    path.write_text(f"data: {photos}\nimage_size: 32\nweights: starter\nseed: 3\n")
    assert app.main(["inspect", "--config", str(path), "--json"]) == app.DONE
    assert json.loads(capsys.readouterr().out)["counts"]["digit 0"] > 50


def test_audit_lists_a_wrong_label(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cleanlab")
    folder = shutil.copytree(photos, tmp_path / "digits")
    wrong = sorted((folder / "digit 0").iterdir())[3]
    wrong.rename(folder / "digit 1" / wrong.name)
    words = ["audit", str(trained), str(folder), "--out", str(tmp_path / "a.png"), "--json"]
    assert app.main(words) == app.DONE
    printed = capsys.readouterr()
    assert f"for all of them: tlkit {shlex.join(words)} --csv audit.csv" in printed.err
    suspects = json.loads(printed.out)["suspects"]
    [found] = [each for each in suspects if each["path"] == f"digit 1/{wrong.name}"]
    assert (found["label"], found["suggested_label"]) == ("digit 1", "digit 0")
    assert (tmp_path / "a.png").is_file()
    table = tmp_path / "a.csv"
    assert app.main([*words, "--csv", str(table)]) == app.DONE
    found = json.loads(capsys.readouterr().out)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [
        each["path"] for each in (*found["suspects"], *found["outliers"])
    ]
    first, listed = found["suspects"][0], rows[0]
    assert listed["suggested_label"] == first["suggested_label"]
    assert float(listed["score"]) == pytest.approx(first["score"])
    assert listed["finding"] == "suspicious label"
    assert app.main([*words, "--csv", "audit.txt"]) == app.WRONG_ARGUMENTS
    assert "`--csv` must be a .csv file" in capsys.readouterr().err


def test_evaluate_and_predict_use_a_saved_classifier(
    trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["evaluate", str(trained), str(photos), "--json"]) == app.DONE
    shown = capsys.readouterr()
    assert json.loads(shown.out)["accuracy"] > 0.95
    assert shown.err.startswith(f"loading {trained}\nevaluating 298 images\n")
    file = sorted((photos / "digit 1").iterdir())[0]
    model = str(trained / "model.keras")
    assert app.main(["predict", model, str(file), "--top", "2", "--json"]) == app.DONE
    [row] = json.loads(capsys.readouterr().out)["predictions"]
    assert row["path"] == str(file)
    assert row["classes"][0]["class"] == "digit 1"
    assert len(row["classes"]) == 2
    assert app.main(["predict", model, str(photos / "digit 0")]) == app.DONE
    shown = capsys.readouterr()
    assert shown.err.startswith(f"loading {model}\n")
    lines = shown.out.splitlines()
    assert len(lines) == len(list((photos / "digit 0").iterdir()))
    assert sum("digit 0" in line.split(": ", 1)[1] for line in lines) > 0.9 * len(lines)


def test_predict_names_sets_and_says_what_is_none_of_the_classes(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), "uint8")
    Image.fromarray(noise).save(tmp_path / "noise.png")
    words = ["predict", str(trained), str(photos / "digit 1"), str(tmp_path / "noise.png")]
    assert app.main([*words, "--coverage", "0.9", "--json"]) == app.DONE
    *digits, other = json.loads(capsys.readouterr().out)["predictions"]
    assert all(row["classes"][0]["class"] in row["set"] for row in digits)
    assert np.mean(["digit 1" in row["set"] for row in digits]) > 0.9
    assert np.mean([row["ood_score"] <= 0.95 for row in digits]) > 0.85
    assert other["ood_score"] == 1
    assert [row["is_unlike"] for row in digits] == [row["ood_score"] > 0.95 for row in digits]
    assert other["is_unlike"] is True
    assert app.main([*words, "--coverage", "0.9", "--csv", str(tmp_path / "p.csv")]) == app.DONE
    header, *_, last = (tmp_path / "p.csv").read_text().splitlines()
    columns = header.split(",")
    assert last.endswith(",1.0,true,")
    assert columns == ["path", "label", "probability", "set", "ood_score", "is_unlike", "problem"]
    capsys.readouterr()
    assert app.main([*words, "--coverage", "0.9999"]) == app.WRONG_DATA
    assert "needs at least 9,999 validation images" in capsys.readouterr().err
    report = (trained / "report.md").read_text(encoding="utf-8")
    assert "### Prediction sets" in report
    assert "### None of these" in report
    assert "![How unlike the training images" in report


def test_an_accuracy_below_the_asserted_one_has_its_own_exit_code(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(trained), str(photos), "--part", "test", "--assert-accuracy"]
    assert app.main([*words, "0.5"]) == app.DONE
    assert app.main([*words, "95"]) == app.WRONG_ARGUMENTS
    assert "`--assert-accuracy` must be from 0 to 1, got 95" in capsys.readouterr().err
    wrong = tmp_path / "photos"
    (wrong / "digit 2").mkdir(parents=True)
    for file in (photos / "digit 1").iterdir():  # as new images, which were not trained on
        Image.open(file).point(lambda value: min(value + 1, 255)).save(
            wrong / "digit 2" / file.name
        )
    assert app.main(["evaluate", str(trained), str(wrong), "--assert-accuracy", "0.5"]) == (
        app.TOO_LOW
    )
    assert "accuracy 0.0000 is below 0.5" in capsys.readouterr().err
    (wrong / "digit 2").rename(wrong / "digit 7")
    assert app.main(["evaluate", str(trained), str(wrong)]) == app.WRONG_DATA
    assert "got ['digit 7']" in capsys.readouterr().err


def test_an_asserted_accuracy_is_not_that_of_images_that_were_trained_on(
    trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(trained), str(photos)]
    assert app.main([*words, "--assert-accuracy", "0.5"]) == app.WRONG_DATA
    shown = capsys.readouterr()
    assert shown.out == f"loading {trained}\n"  # nothing was evaluated
    assert "`--assert-accuracy` needs images that the classifier was not trained on" in shown.err
    assert "`--part test` takes the test images of its run" in shown.err
    assert app.main([*words, "--part", "train"]) == app.DONE
    assert "so the results are better than on new images" in capsys.readouterr().out


def test_evaluate_takes_one_part_of_the_runs_split(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = json.loads((trained / "metrics.json").read_text())
    words = ["evaluate", str(trained), str(photos), "--part"]
    assert app.main([*words, "test", "--json"]) == app.DONE
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["count"], found["trained_on"]) == (saved["count"], 0)
    assert found["confusion"] == saved["confusion"]
    assert f"evaluating the run's {saved['count']} test images, of " in shown.err
    assert app.main([*words, "tests"]) == app.WRONG_ARGUMENTS
    fewer = shutil.copytree(photos, tmp_path / "photos")
    for file in (fewer / "digit 0").glob("*1.png"):
        file.unlink()
    words = ["evaluate", str(trained), str(fewer), "--part", "test"]
    assert app.main(words) == app.WRONG_DATA
    assert "The run's test images must all be there, got " in capsys.readouterr().err
    copy = shutil.copy(trained / "model.keras", tmp_path / "alone.keras")
    assert app.main(["evaluate", str(copy), str(photos), "--part", "test"]) == app.WRONG_ARGUMENTS
    assert "`--part` needs the run of the classifier" in capsys.readouterr().err


def test_compare_shows_classifiers_side_by_side(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(trained, tmp_path / "other")
    assert app.main(["compare", str(trained), str(other), "--json"]) == app.DONE
    shown = capsys.readouterr()
    assert shown.err.startswith(f"loading and evaluating {trained}, {other}\n")
    found = json.loads(shown.out)
    saved = json.loads((trained / "metrics.json").read_text())
    assert [each["accuracy"] for each in found["runs"]] == [saved["accuracy"]] * 2
    assert found["runs"][1]["against_first"]["p_value"] == 1
    words = ["compare", str(trained), str(other / "model.keras")]
    assert app.main(words) == app.WRONG_ARGUMENTS
    assert "`--data` must be set, since" in capsys.readouterr().err
    assert app.main([*words, "--data", str(photos)]) == app.DONE
    assert "better than on new images" in capsys.readouterr().out
    assert app.main(["compare", str(trained)]) == app.WRONG_ARGUMENTS
    assert "must be two or more different classifiers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "model"), [("cyclopts", "model.onnx"), ("keras", "model.keras")]
)
def test_a_command_without_its_packages_says_what_to_install(
    package: str, model: str, tmp_path: Path
) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from tlkit.__main__ import main; "
    (tmp_path / model).touch()
    words = ["tlkit", "predict", str(tmp_path / model), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", f"{code}sys.argv = {words}; sys.exit(main())"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == app.WRONG_ARGUMENTS
    assert f"the command needs the package {package!r}" in done.stderr
    assert "Traceback" not in done.stderr


def test_inspect_shows_the_plan_without_training(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", str(photos), "--image-size", "32", "--weights", "starter"]
    assert app.main([*words, "--recipe", "few_images", "--layers"]) == app.DONE
    shown = capsys.readouterr().out
    assert "digit 0 " in shown
    assert "block_16_project_BN" in shown
    assert "few_images ends with 1" in shown
    assert "head caches" in shown
    assert app.main([*words, "--recipe", "best", "--augment", "flip"]) == app.DONE
    shown = capsys.readouterr().out
    assert "head caches up to 8,192 bytes of features of each image, up to 2.0 MB" in shown
    assert "fine_tune caches no features: every epoch runs the whole model" in shown


def test_probe_writes_a_figure(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "probe.png"
    words = ["probe", str(photos), "--image-size", "32", "--weights", "starter", "--json"]
    assert app.main([*words, "--out", "probe.jpg"]) == app.WRONG_ARGUMENTS
    assert app.main([*words, "--out", str(figure)]) == app.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] in {each["layer"] for each in found["layers"]}
    assert min(Image.open(figure).size) > 400


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate nowhere data", "must be a run's folder, a .keras file or an exported file, got"),
        ("evaluate nowhere.keras data", "nowhere.keras"),
        ("inspect README.md --weights starter", "or 'mnist', got 'README.md': no such file"),
        ("inspect digits --weights imagnet", "Did you mean 'imagenet'"),
        ("inspect digits --image-size 8", "`--image-size` must be at least 32"),
        ("train x --out run --image-size 0", "`--image-size` must have a height of whole pixels"),
        ("train x --out run --image-size 8x0", "`--image-size` must have a width of whole pixels"),
        ("train x --out run --limit 0", "`--limit` must be a whole number of at least 1, got 0"),
        ("inspect digits --recipe fats", '"fats" for --recipe. Choose from: "best", "fast"'),
        ("inspect digits --recip fast", "Unknown option: --recip. Did you mean --recipe?"),
        ("inspect digits --test 0", "`--test` must be above 0"),
        (
            "train digits --out run --augment flip mixup",
            "`--augment mixup` needs a recipe that fine-tunes, such as `--recipe best`",
        ),
        ("train --out run", "`tlkit train` needs `DATA` (A folder of classes, "),
        (
            "train tests",
            "`tlkit train` needs `--out` (The run's folder; it must be new, empty, or ",
        ),
        ("train tests --out", "`--out` needs a value (The run's folder; "),
        ("train --out run --config no.json", "`--config` must be a file, got 'no.json'"),
        ("trian", 'Did you mean "train"?'),
        ("train x --out run --limit many", "`--limit` must be a whole number, got 'many'"),
        ("train x --out run --budget long", "`--budget` must be a number, got 'long'"),
        ("inspect x --layers 5", "no option takes '5'. `tlkit inspect --help` lists all options"),
        (
            "train digits --out run --recipe few_images --recipe-options epochs=0,1",
            "`--recipe-options epochs` must be a whole number of at least 1, got 0",
        ),
        (
            "train digits --out run --recipe best --recipe-options epoch=3",
            "The recipe 'best' has no setting 'epoch'; it has",
        ),
    ],
)
def test_wrong_arguments_are_named_as_options(
    words: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.main(words.split()) == app.WRONG_ARGUMENTS
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_messages_on_folders_name_what_was_typed(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "inner").symlink_to(photos)
    outer = str(tmp_path / "outer")
    for words, message in (
        (["inspect", outer], "`--data` must have a folder for each class"),
        (["inspect", outer], "inner': use that folder"),
        (["train", str(photos), "--out", str(tmp_path)], "`--out` must be new or empty"),
        (["report", outer], "`--run` must be a run"),
    ):
        assert app.main(words) == app.WRONG_ARGUMENTS
        shown = capsys.readouterr().err
        assert message in shown
        assert "from_folder" not in shown and "`folder`" not in shown


def test_wrong_images_have_their_own_exit_code_and_options_that_help(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(photos, tmp_path / "digits")
    (folder / "digit 0" / "empty.png").write_bytes(b"")
    words = ["inspect", str(folder), "--image-size", "32", "--weights", "starter"]
    assert app.main(words) == app.WRONG_DATA
    message = capsys.readouterr().err
    assert "digit 0/empty.png: it is empty" in message
    assert "or skip them with `--unreadable skip`" in message
    more = ["--unreadable", "skip", "--max-unreadable", "0.001"]
    assert app.main([*words, *more]) == app.WRONG_DATA
    assert "To accept more, raise `--max-unreadable`." in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "evaluate",
        "predict",
        "embed",
        "report",
        "audit",
        "export",
        "demo",
        "push",
        "pull",
        "probe",
        "inspect",
    ],
)
def test_every_command_has_help_for_every_option_and_the_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.app, "_console", rich.console.Console(width=1000))
    assert app.main([command, "--help"]) == app.DONE
    shown = capsys.readouterr().out
    options, exit_codes = shown.split("Parameters", 1)[1].split("Exit codes:")
    assert "130: interrupted" in exit_codes
    described = [line.strip() for line in options.splitlines() if line.strip()]
    assert len(described) > 2
    assert [line for line in described if not line.endswith((".", "]"))] == []


def test_the_version_is_that_of_the_package_and_needs_no_keras(run_python) -> None:
    printed = run_python(
        "import sys\nfrom tlkit.cli.app import main\nassert main(['--version']) == 0\n"
        "assert not {'keras', 'numpy', 'tensorflow'} & sys.modules.keys()"
    )
    assert printed.strip() == f"tlkit {tlkit.__version__}"


def test_tuning_says_its_own_folds_budget_and_recipes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.app, "_console", rich.console.Console(width=1000))
    shown = {}
    for command in ("tune", "train"):
        assert app.main([command, "--help"]) == app.DONE
        lines = capsys.readouterr().out.splitlines()
        options = ("--recipe ", "--folds ", "--budget ")
        shown[command] = [line for line in lines for each in options if each in line]
        refused = ("--recipe-options", "--backbones", "--image-sizes", "--max-ms", "--max-mb")
        offered = [each for each in refused if any(each in line for line in lines)]
        assert offered == ([] if command == "tune" else [*refused])
    recipe, folds, budget = shown["tune"]
    assert "[choices: best, few_images] [default: best]" in recipe
    assert "Into how many folds the training images are divided. [default: 3]" in folds
    assert "Maximum minutes of all trials" in budget
    assert "[default: 0]" in shown["train"][1]


def test_the_help_imports_neither_keras_nor_numpy(run_python) -> None:
    code = (
        "import sys; from tlkit.cli import app; code = app.main(sys.argv[1:]);"
        "heavy = {'keras', 'tensorflow', 'numpy', 'PIL', 'scipy', 'sklearn'} & sys.modules.keys();"
        "print('loaded', code, sorted(heavy))"
    )
    for words, exit_code in (
        (["--help"], app.DONE),
        (["train", "--help"], app.DONE),
        (["train", "x", "--sede", "3"], app.WRONG_ARGUMENTS),
    ):
        printed = run_python(code.replace("sys.argv[1:]", repr(words)))
        assert printed.splitlines()[-1] == f"loaded {exit_code} []"


def test_every_tracker_can_be_chosen() -> None:
    assert get_args(experiment_commands.Tracker) == get_args(trackers.Tracker)


def test_a_reader_that_stops_early_sees_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m tlkit --help | head -n 1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("Usage: tlkit")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["--image-size", "160"], 160),
        (["--image-size", "120", "200"], (120, 200)),
        (["--image-size", "120x200"], (120, 200)),
        (["--image-size=120x200"], (120, 200)),
        (["--config", "c.json"], (40, 64)),
    ],
)
def test_a_size_is_typed_as_a_number_two_or_both_with_an_x(
    words: list[str], size: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        tlkit.experiments, "run", lambda experiment, *_, **__: seen.append(experiment)
    )
    (tmp_path / "c.json").write_text('{"image_size": [40, 64]}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AttributeError):  # the run has no result
        app.main(["train", "digits", "--out", "run", *words, "--seed", "3"])
    assert (seen[0].image_size, seen[0].seed) == (size, 3)


def test_a_file_name_cannot_change_the_terminal(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a\x1b]0;title\x07.png"
    Image.fromarray(np.zeros((9, 9, 3), "uint8")).save(path)
    for name in (str(path), f"{path}x"):
        assert app.main(["predict", str(trained), name]) in (app.WRONG_DATA, app.WRONG_ARGUMENTS)
        shown = "".join(capsys.readouterr())
        assert r"a\x1b]0;title\x07.png" in shown
        assert "\x1b" not in shown


def test_what_is_printed_cannot_change_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    DEFAULT_OUTPUT.print("a\x1b]0;title\x07.png")
    assert capsys.readouterr().out == "a\\x1b]0;title\\x07.png\n"


@pytest.mark.parametrize("package", ["cyclopts", "keras"])
def test_ctrl_c_while_packages_are_imported_ends_in_one_line(tmp_path: Path, package: str) -> None:
    stopping = (
        "import os, signal\n"
        "if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job in the background\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "while True: pass\n"
    )
    (tmp_path / f"{package}.py").write_text(stopping)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "tlkit", "predict", str(tmp_path), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = done.stderr.removeprefix(f"loading {tmp_path}\n")
    assert (done.returncode, last) == (app.INTERRUPTED, "tlkit: interrupted\n")


def test_an_error_names_the_option_that_turns_something_off() -> None:
    options = {"--resume", "--no-resume", "--epochs"}
    assert app._as_option(Argument("resume", value=False), options) == "`--no-resume`"
    assert app._as_option(Argument("resume", value=True), options) == "`--resume`"
    assert app._as_option(Argument("epochs", value=1), options) == "`--epochs 1`"
