"""Whichever write fails: a clear error, nothing torn is used, nothing is left behind."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tests.reports.example import facts
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit._internal import failpoints
from tlkit._internal.table_files import open_table
from tlkit.caching import partition
from tlkit.caching.cache import Cache
from tlkit.caching.extraction import Extraction
from tlkit.cli import app
from tlkit.deployment.flagging import FlagFolder
from tlkit.deployment.predictor import Prediction
from tlkit.errors import StoreError, TlkitError
from tlkit.experiments import run_folder
from tlkit.models import freezing, saving
from tlkit.reports import render
from tlkit.training.checkpoint_files import CheckpointFolder
from tlkit.training.records import PhaseRun, Run
from tlkit.training.verification import Movement

MAX_STEPS = 200
Write = Callable[[Path], object]


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    image = keras.Input((16, 16, 3))
    backbone = keras.Model(image, keras.layers.Conv2D(4, 3, 2, name="only")(image), name="tiny")
    return small_classifier(backbone)


@pytest.fixture
def writers(classifier: keras.Model) -> dict[str, Write]:
    """Functions that write into a folder."""
    movement = Movement(moved=2, untouched=0)
    history = {"loss": [0.5], "accuracy": [0.75]}
    phase = PhaseRun(name="head", history=history, seconds=1, best_epoch=1, movement=movement)
    run = Run(phases=(phase,))
    evaluation = tlkit.evaluate(classifier, make_noise())
    figure = Figure(figsize=(1, 1))

    def save_run(folder: Path, *, is_claimed: bool = False) -> None:
        run_folder.save_run(
            folder / "run",
            model=classifier,
            run=run,
            evaluation=evaluation,
            figures={"empty": figure},
            about="",
            config={},
            is_claimed=is_claimed,
        )

    def fill_run(folder: Path) -> None:
        (folder / "run").mkdir(exist_ok=True)
        save_run(folder, is_claimed=True)

    def write_table(folder: Path) -> None:
        with open_table(folder / "predictions.csv", {"path": 0, "score": 1}) as write:
            for number in range(3):
                write(("a.png", number))

    def flag(folder: Path) -> None:
        Image.new("L", (4, 4)).save(folder / "upload.png")
        flags = FlagFolder(folder=folder / "flagged", class_names=("cat", "dog"))
        flags.add(folder / "upload.png", ["dog"], Prediction(classes=(("cat", 0.75), ("dog", 0.2))))

    return {
        "model": lambda folder: saving.save(classifier, folder / "model.keras"),
        "run": save_run,
        "claimed run": fill_run,
        "report": lambda folder: render.write(folder, facts(figures={"curves": figure})),
        "table": write_table,
        "flagged": flag,
        "checkpoint": lambda folder: CheckpointFolder(folder).save({"a": 1}, {"b": np.ones(3)}),
    }


def _walk(monkeypatch: pytest.MonkeyPatch, form: str, attempt: Callable[[int], None]) -> int:
    """Let each step of a function fail in turn, until there is none more; return their number."""
    for number in range(1, MAX_STEPS):
        monkeypatch.setenv(failpoints.VARIABLE, form.format(number))
        failpoints.count_steps()
        attempt(number)
        if failpoints.count_steps() < number:
            return number - 1
    raise AssertionError(f"there are more than {MAX_STEPS} steps")


def _list_hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def run_files_match(sums: Path) -> None:
    for line in sums.read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((sums.parent / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *(("model", 4), ("run", 12), ("claimed run", 12), ("report", 16)),
        *(("table", 4), ("flagged", 8), ("checkpoint", 4)),
    ],
)
@pytest.mark.parametrize("form", ["{}", "{}+:EIO"])
def test_whatever_fails_nothing_torn_is_there(
    writers: dict[str, Write],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    steps: int,
    form: str,
) -> None:
    (tmp_path / "whole").mkdir()
    writers[name](tmp_path / "whole")
    sizes = {
        path.relative_to(tmp_path / "whole"): path.stat().st_size
        for path in (tmp_path / "whole").rglob("*")
        if path.is_file()
    }

    def attempt(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            writers[name](folder)
        except TlkitError as error:
            assert os.strerror(errno.EIO if "EIO" in form else errno.ENOSPC) in str(error)
            assert ".writing-" not in str(error)
        assert not _list_hidden(folder)
        for path in folder.rglob("*"):
            if path.name == "SHA256SUMS":  # it lists what is there
                run_files_match(path)
            elif path.is_file():
                assert path.stat().st_size == pytest.approx(sizes[path.relative_to(folder)], abs=40)
        monkeypatch.delenv(failpoints.VARIABLE)
        if name == "run" and (folder / "run").exists():  # its figure or list of files failed
            assert (folder / "run" / "model.keras").is_file()
        else:
            writers[name](folder)

    assert _walk(monkeypatch, form, attempt) >= steps


@pytest.mark.parametrize(("form", "memory_limit"), [("{}", None), ("{}+:EIO", 0)])
def test_a_cache_that_can_not_store_goes_on_without(
    classifier: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    memory_limit: int | None,
) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "default"))
    images, labels = make_noise()
    plan = freezing.plan(tlkit.models.backbone_of(classifier), freezing.everything)
    classifier.trainable = True
    freezing.apply(plan)
    cut = partition.find_cut(classifier, plan, images)

    def extract(folder: Path) -> tuple[np.ndarray, int]:
        cache = Cache(folder=folder, memory_limit=memory_limit)
        extraction = Extraction(classifier, [cut], cache)
        try:
            found = extraction.extract(cut, "train", (images, labels), batch_size=4)
            [features] = found.take(np.arange(len(images)))[0]
            return features, extraction.summarize(cut).num_computed
        finally:
            extraction.close()

    expected, _ = extract(tmp_path / "whole")

    def attempt(number: int) -> None:
        try:
            np.testing.assert_array_equal(extract(tmp_path / str(number))[0], expected)
        except StoreError:
            assert memory_limit == 0 and "+" in form  # features must be on disk, and it is full
        assert not [*_list_hidden(tmp_path / str(number)), *_list_hidden(tmp_path / "default")]
        monkeypatch.delenv(failpoints.VARIABLE)
        features, _ = extract(tmp_path / str(number))  # what was stored is whole
        np.testing.assert_array_equal(features, expected)

    assert _walk(monkeypatch, form, attempt) >= 12


@pytest.mark.parametrize("setting", ["rename:2", "write:2:EIO", "2:ENOSPC"])
def test_a_step_can_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    def write(name: str) -> None:
        with tlkit._internal.files.replace_atomically(tmp_path / name) as temporary:
            temporary.write_text("content")

    monkeypatch.setenv(failpoints.VARIABLE, setting)
    failpoints.count_steps()
    outcomes = []
    for name in ("first", "second", "third"):
        try:
            write(name)
            outcomes.append(True)
        except StoreError:
            outcomes.append(False)
    assert outcomes == ([False, True, True] if setting == "2:ENOSPC" else [True, False, True])


def test_a_wrong_setting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "soon")
    with pytest.raises(ValueError, match="TLKIT_FAIL_WRITE must be such as 3"):
        failpoints.reach("write", tmp_path)


def _train(photos: Path, out: Path, *more: str) -> int:
    words = ["train", str(photos), "--out", str(out), "--image-size", "32", "--weights", "starter"]
    return app.main([*words, *more])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{}", "{}+"])
def test_a_command_whose_writes_fail_says_so_and_the_next_one_trains(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, capsys: Any
) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "features 0"))
    monkeypatch.setenv(failpoints.VARIABLE, "1000000")  # none fails; they are counted
    failpoints.count_steps()
    assert _train(photos, tmp_path / "0" / "run") == app.DONE
    steps, number = failpoints.count_steps(), 1
    assert steps > 20
    while number <= steps:
        monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / f"features {number}"))
        monkeypatch.setenv(failpoints.VARIABLE, form.format(number))
        failpoints.count_steps()
        out = tmp_path / str(number) / "run"
        code = _train(photos, out)
        said = capsys.readouterr()
        assert code in (app.DONE, app.FAILED)
        assert "Traceback" not in said.err + said.out
        if code == app.FAILED:
            assert "No space left on device" in said.err
        assert not [name for name in _list_hidden(tmp_path) if name.startswith((".w", ".f"))]
        monkeypatch.delenv(failpoints.VARIABLE)
        if not (out / "model.keras").exists():
            assert _train(photos, out) == app.DONE
        number += max(number // 4, 1)
