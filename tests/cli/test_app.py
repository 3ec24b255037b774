import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
from PIL import Image

from tlkit.cli import app
from tlkit.cli import config as asked


def test_training_leaves_model_figures_and_report(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"model.keras", "metrics.json", "config.json", "report.html", "report.md"} <= names
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    config = json.loads((trained / "config.json").read_text())
    assert config["experiment"]["image_size"] == 32
    assert config["experiment"]["validation"] == 0.2
    report = (trained / "report.html").read_text()
    assert f"{100 * metrics['accuracy']:.1f}" in report
    assert "digit 2" in report


def test_a_run_is_repeated_from_its_own_config(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    config = str(trained / "config.json")
    assert app.main(["train", "--config", config, "--out", str(out), "--json"]) == app.DONE
    first, again = (json.loads((folder / "metrics.json").read_text()) for folder in (trained, out))
    assert first["accuracy"] == again["accuracy"]
    assert first["loss"] == pytest.approx(again["loss"], rel=1e-4)


def test_a_report_is_written_again_from_the_run(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    for name in ("report.html", "report.md"):
        (copy / name).unlink()
    assert app.main(["report", str(copy)]) == app.DONE
    assert (copy / "report.md").read_text() == (trained / "report.md").read_text()
    assert (copy / "report.html").is_file()
    assert app.main(["report", str(tmp_path)]) == app.WRONG_WORDS


@pytest.fixture
def moved(trained: Path, photos: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the run, and of its images, which are read from there."""
    images = shutil.copytree(photos, tmp_path / "images" / photos.name)
    run = shutil.copytree(trained, tmp_path / "moved")
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["data"] = "no longer here"
    config["making"]["data"] = str(images)
    (run / "config.json").write_text(json.dumps(config))
    return run, images


def test_a_report_stays_with_the_images_that_the_run_was_made_of(
    moved: tuple[Path, Path], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, images = moved
    for file in sorted(images.rglob("*.png")):
        Image.open(file).save(file.with_suffix(".bmp"))  # looks alike: would move whole groups
    assert app.main(["report", str(run)]) == app.DONE
    assert (run / "report.md").read_text() == (trained / "report.md").read_text()
    tested = next(line for line in (run / "split.csv").read_text().splitlines() if "test," in line)
    (images / tested.split(",")[1]).unlink()
    assert app.main(["report", str(run)]) == app.WRONG_DATA
    assert "1 of 298 that are gone or changed" in capsys.readouterr().err


def test_a_file_of_a_run_is_asked_as_the_run_was_trained(moved: tuple[Path, Path]) -> None:
    run, _ = moved
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["fit"] = "crop"
    (run / "config.json").write_text(json.dumps(config))
    for model in (run, run / "model.keras"):
        found = asked.model(Namespace(model=str(model), data="elsewhere"))[1]
        assert (found.fit, found.image_size) == ("crop", 32)
    (run / "config.json").write_text('{"about": "a script of mine"}')
    assert asked.model(Namespace(model=str(run), data="elsewhere"))[1].fit == "squash"


def test_a_run_within_its_images_is_refused(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(photos), "--out", str(photos / "run"), "--weights", "starter"]
    assert app.main(words) == app.WRONG_WORDS
    assert "`folder` must lie outside the images' folder" in capsys.readouterr().err
    assert not (photos / "run").exists()


def test_predict_goes_on_where_a_file_is_damaged(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "some"
    (folder / "deep.png").mkdir(parents=True)
    shutil.copy(next((photos / "digit 1").iterdir()), folder / "deep.png" / "one.png")
    (folder / "._one.png").write_bytes(b"what a Mac leaves")
    (folder / "cut.png").write_bytes(b"")
    assert app.main(["predict", str(trained), str(folder), "--json"]) == app.DONE
    damaged, called = json.loads(capsys.readouterr().out)["predictions"]
    assert damaged == {"path": str(folder / "cut.png"), "problem": "it is empty"}
    assert called["classes"][0]["class"] == "digit 1"
    (folder / "deep.png" / "one.png").unlink()
    assert app.main(["predict", str(trained), str(folder)]) == app.WRONG_DATA
    assert app.main(["predict", str(trained), str(folder), "--top", "0"]) == app.WRONG_WORDS


@pytest.mark.parametrize("command", ["evaluate", "report", "audit", "predict"])
def test_every_command_takes_the_config_of_a_run(
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


def test_a_config_of_ones_own_says_what_is_not_typed(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((photos / "digit 1").iterdir())
    values = {"model": str(trained), "files": [str(file)], "top": 2, "json": True}
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    assert app.main(["predict", "--config", str(path)]) == app.DONE
    [called] = json.loads(capsys.readouterr().out)["predictions"]
    assert len(called["classes"]) == 2
    assert app.main(["predict", "--config", str(path), "--top", "1"]) == app.DONE
    [called] = json.loads(capsys.readouterr().out)["predictions"]
    assert len(called["classes"]) == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"modle": "run"}, "got 'modle'; it has"),
        ({"data": "photos"}, "`model` must be given, or be in `--config`: a run's folder"),
        ({"model": "run", "data": "photos", "assert_accuracy": "high"}, "must be of type float"),
        ({"model": "run", "data": "photos", "json": 1}, "`--json` must be of type bool, got 1"),
    ],
)
def test_a_config_that_the_command_does_not_know_is_told(
    tmp_path: Path, values: dict, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    assert app.main(["evaluate", "--config", str(path)]) == app.WRONG_WORDS
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["data: [", "- a list", "experiment: 5", "data: 5", "{experiment: {}, making: {data: x}}"],
)
def test_a_config_that_is_none_is_told(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "c.yaml"
    path.write_text(content)
    assert app.main(["inspect", "--config", str(path)]) == app.WRONG_WORDS
    assert "must" in capsys.readouterr().err


def test_a_run_of_other_making_is_not_reported_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / "config.json").write_text('{"about": "a script of mine"}')
    assert app.main(["report", str(copy)]) == app.WRONG_WORDS
    assert "which experiment made it" in capsys.readouterr().err


def test_the_labels_of_a_folder_are_audited(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cleanlab")
    folder = shutil.copytree(photos, tmp_path / "digits")
    wrong = sorted((folder / "digit 0").iterdir())[3]
    wrong.rename(folder / "digit 1" / wrong.name)
    words = ["audit", str(trained), str(folder), "--out", str(tmp_path / "a.png"), "--json"]
    assert app.main(words) == app.DONE
    suspects = json.loads(capsys.readouterr().out)["suspects"]
    [found] = [each for each in suspects if each["path"] == f"digit 1/{wrong.name}"]
    assert (found["given"], found["suggested"]) == ("digit 1", "digit 0")
    assert (tmp_path / "a.png").is_file()


def test_a_saved_classifier_is_measured_and_asked(
    trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["evaluate", str(trained), str(photos), "--json"]) == app.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] > 0.95
    file = sorted((photos / "digit 1").iterdir())[0]
    model = str(trained / "model.keras")
    assert app.main(["predict", model, str(file), "--top", "2", "--json"]) == app.DONE
    [row] = json.loads(capsys.readouterr().out)["predictions"]
    assert row["path"] == str(file)
    assert row["classes"][0]["class"] == "digit 1"
    assert len(row["classes"]) == 2
    assert app.main(["predict", model, str(photos / "digit 0")]) == app.DONE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list((photos / "digit 0").iterdir()))
    assert sum("digit 0" in line.rsplit(":", 1)[1] for line in lines) > 0.9 * len(lines)


def test_an_accuracy_may_be_demanded(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(trained), str(photos), "--assert-accuracy"]
    assert app.main([*words, "0.5"]) == app.DONE
    assert app.main([*words, "95"]) == app.WRONG_WORDS
    assert "`--assert-accuracy` must be from 0 to 1, got 95" in capsys.readouterr().err
    wrong = tmp_path / "photos"  # a class alone, under another one's name
    shutil.copytree(photos / "digit 1", wrong / "digit 2")
    assert app.main(["evaluate", str(trained), str(wrong), "--assert-accuracy", "0.5"]) == (
        app.TOO_LOW
    )
    assert "accuracy 0.0000 is below 0.5" in capsys.readouterr().err
    (wrong / "digit 2").rename(wrong / "digit 7")
    assert app.main(["evaluate", str(trained), str(wrong)]) == app.WRONG_DATA
    assert "got ['digit 7']" in capsys.readouterr().err


def test_inspect_shows_the_plan_and_trains_nothing(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", str(photos), "--image-size", "32", "--weights", "starter"]
    assert app.main([*words, "--recipe", "few_images", "--layers"]) == app.DONE
    shown = capsys.readouterr().out
    assert "read as needed: 3 kB each" in shown
    assert "digit 0 " in shown
    assert "block_16_project_BN" in shown
    assert "few_images ends with 1" in shown
    assert "head keeps" in shown
    assert app.main([*words, "--recipe", "best", "--augment", "flip"]) == app.DONE
    shown = capsys.readouterr().out
    assert "head keeps up to 8,192 bytes of features of each image, up to 2.0 MB" in shown
    assert "fine_tune keeps no features: every epoch runs the whole model" in shown


def test_probe_shows_where_to_read(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "probe.png"
    words = ["probe", str(photos), "--image-size", "32", "--weights", "starter", "--json"]
    assert app.main([*words, "--out", "probe.jpg"]) == app.WRONG_WORDS
    words += ["--out", str(picture)]
    assert app.main(words) == app.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] in {each["layer"] for each in found["layers"]}
    assert min(Image.open(picture).size) > 400


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["evaluate", "nowhere", "data"], app.WRONG_WORDS, "a run's folder or a .keras file"),
        (["inspect", "README.md"], app.WRONG_WORDS, "a .csv or .parquet table, got 'README.md'"),
        (["inspect", "tests", "--weights", "imagnet"], app.WRONG_WORDS, "Did you mean 'imagenet'"),
        (
            ["inspect", "tests", "--image-size", "8"],
            app.WRONG_WORDS,
            "`--image-size` must be at least 32",
        ),
        (["train", "nowhere", "--out", "run"], app.WRONG_WORDS, "nowhere"),
        (["evaluate", "nowhere.keras", "data"], app.WRONG_WORDS, "nowhere.keras"),
        (["train", "--out", "run"], app.WRONG_WORDS, "`data` must be given"),
        (["train", "--out", "run", "--config", "no.json"], app.WRONG_WORDS, "no such file"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.main(words) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_images_have_an_exit_code_of_their_own(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").write_bytes(b"")
    words = ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert app.main(words) == app.WRONG_DATA
    assert "a/1.png: it is empty" in capsys.readouterr().err


def test_a_config_may_be_yaml_and_must_hold_known_names(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "c.yaml"
    path.write_text(f"data: {photos}\nimage_size: 32\nweights: starter\nseed: 3\n")
    assert app.main(["inspect", "--config", str(path), "--json"]) == app.DONE
    assert json.loads(capsys.readouterr().out)["counts"]["digit 0"] > 50
    path.write_text("image_sise: 32\n")
    assert app.main(["inspect", "--config", str(path)]) == app.WRONG_WORDS
    assert "got 'image_sise'; it has" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "predict", "report", "audit", "probe", "inspect"]
)
def test_every_command_has_help_with_the_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        app.main([command, "--help"])
    assert stopped.value.code == 0
    assert "exit codes:" in capsys.readouterr().out


def test_messages_speak_of_what_is_typed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(photos, tmp_path / "digits")
    (folder / "digit 0" / "empty.png").write_bytes(b"")
    words = ["inspect", str(folder), "--image-size", "32", "--weights", "starter"]
    assert app.main(words) == app.WRONG_DATA
    assert "or skip them with `--unreadable skip`" in capsys.readouterr().err
    config = ["--unreadable", "skip", "--max-unreadable", "0.001"]
    assert app.main([*words, *config]) == app.WRONG_DATA
    assert "To accept more, raise `--max-unreadable`." in capsys.readouterr().err
