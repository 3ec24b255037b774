"""Damaged files of a run: each is one clear error, from every function that reads it."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import tlkit
from tlkit import experiments
from tlkit.cli import app
from tlkit.errors import ConfigError, DataError, TlkitError
from tlkit.experiments import (
    checksums,
    classifiers,
    export_records,
    loading,
    reporting,
    run_files,
    run_folder,
    run_state,
    split_csv,
)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(share: float) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        at = int(share * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]

    return flip


DAMAGES = {
    "empty": lambda content: b"",
    "cut": _cut,
    "null": lambda content: b"null",
    "list": lambda content: b"[1, 2]",
    "object": lambda content: b"{}",
    "nested": lambda content: b"[" * 100_000,
    "latin-1": lambda content: content + "é".encode("latin-1"),
    "utf-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "zeros": lambda content: bytes(len(content)),
    "columns": lambda content: b"a,b\n1,2\n",
    "row": lambda content: content + b"one\n",
    **{f"flip {percent} %": _flip(percent / 100) for percent in range(0, 100, 9)},
}


NAMES = ("config.json", "metrics.json", "history.csv", "split.csv", "exports.json")


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as `tlkit train` wrote it, with the list of an export."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("damaged") / "run")
    (folder / "exports.json").write_text(json.dumps({"exports": []}))
    return folder


@pytest.fixture(scope="module")
def listed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, with a list of its files; the other has none, as older runs."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("listed") / "run")
    (run / checksums.NAME).unlink()
    experiments.verify_run(folder, accept=True)
    return folder


def _read(run: Path) -> None:
    """Read every text file of a run as the library does, without its images and its model."""
    config = run_files.read_json(run / "config.json", "environment")
    run_folder.load_run(run)
    classifiers._read_settings(run)
    with run_files.explain_damage(run / "config.json"):
        reporting._read_making(config["making"])
    export_records.load(run)
    split_csv.match_rows(loading.load_images(_experiment(run)), run / "split.csv")


def _experiment(run: Path) -> loading.Experiment:
    with run_files.explain_damage(run / "config.json"):
        return loading.Experiment.from_dict(classifiers._read_settings(run))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named_or_read(run: Path, listed: Path, name: str, damage: str) -> None:
    path = run / name
    content = path.read_bytes()
    changed = DAMAGES[damage](content)
    path.write_bytes(changed)
    try:
        _read(run)
    except TlkitError as error:
        message = str(error)
        assert len(message) < 500
        # a changed path, or the name of a setting that the images have no use for
        others = ("images must not have changed", "can only be used with a table")
        assert name in message or any(other in message for other in others)
        is_refused = True
    else:
        is_refused = False
    finally:
        path.write_bytes(content)
    if not damage.startswith("flip"):
        expected = {("exports.json", "object"): True}.get((name, damage), changed != content)
        assert is_refused == expected, message


def test_an_undamaged_run_is_read(run: Path, listed: Path) -> None:
    _read(run)
    _read(listed)


def test_every_file_of_a_run_is_listed(trained: Path) -> None:
    found = experiments.verify_run(trained)
    names = {path.name for path in trained.iterdir() if path.name[0] != "."}
    assert found.num_files == len(names - {"SHA256SUMS", "state.json"})
    assert not found.edited and not found.unlisted


# Each reader of the text files of a run, without the images that a split is matched with: so that
# hundreds of damages take seconds.
def _read_texts(run: Path) -> None:
    run_folder.load_run(run)
    config = run_files.read_json(run / "config.json", "environment", "making")
    with run_files.explain_damage(run / "config.json"):
        loading.Experiment.from_dict(classifiers._read_settings(run))
        reporting._read_making(config["making"])
    export_records.load(run)
    run_files.read_csv(run / "split.csv", "part", "path", "digest")
    run_files.read_json(run / run_state.NAME, "state", "experiment")


def _damage(content: bytes, draw: random.Random) -> bytes:
    at, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    match draw.choice(("flip", "cut", "insert", "remove", "repeat")):
        case "flip" if at < len(content):
            return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
        case "insert":
            return content[:at] + draw.randbytes(draw.randrange(1, 9)) + content[at:]
        case "remove":
            return content[:at] + content[end:]
        case "repeat":
            return content[:end] + content[at:]
    return content[:at]


@pytest.mark.parametrize("name", [*NAMES, run_state.NAME])
def test_random_damage_is_named(run: Path, listed: Path, name: str) -> None:
    draw = random.Random(name)
    for folder, count in ((run, 100), (listed, 60 * (name in NAMES))):
        path = folder / name
        content = path.read_bytes()
        refused = 0
        try:
            for _ in range(count):
                changed = _damage(content, draw)
                path.write_bytes(changed)
                try:
                    _read_texts(folder)
                except TlkitError as error:
                    assert name in str(error) and len(str(error)) < 600
                    refused += changed != content
                else:
                    refused += folder == listed and changed == content
            assert folder == run or refused == count
        finally:
            path.write_bytes(content)


@pytest.mark.parametrize("name", [*NAMES, "model.keras"])
def test_what_is_no_file_is_named(listed: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(listed, tmp_path / "run")
    path = folder / name
    makers: list[Callable[[], object]] = [path.mkdir, lambda: path.symlink_to("/dev/zero")]
    if hasattr(os, "mkfifo"):
        makers.append(lambda: os.mkfifo(path))
    for make in makers:
        path.rmdir() if path.is_dir() else path.unlink()
        make()
        with pytest.raises(TlkitError, match=re.escape(name)):
            classifiers.load_model(path) if name == "model.keras" else _read_texts(folder)
        with pytest.raises(DataError, match=re.escape(name)):
            experiments.verify_run(folder)


def test_a_text_is_read_up_to_a_bound(
    run: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_files, "_MAX_BYTES", 100)
    with pytest.raises(ConfigError, match=r"metrics.json': it is larger than 100 bytes"):
        run_folder.load_run(run)


def test_a_changed_model_is_refused_and_an_edited_card_is_not(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(listed, tmp_path / "run")
    assert app.main(["verify", str(folder)]) == app.DONE
    count = experiments.verify_run(folder).num_files
    assert f"{count} files of {folder} are as they were written" in capsys.readouterr().out
    with (folder / "report.md").open("a") as file:
        file.write("My own words.")
    (folder / "notes.md").write_text("more")
    (folder / "summary.txt").unlink()
    assert app.main(["verify", str(folder), "--json"]) == app.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["edited"] == ["report.md", "summary.txt"] and found["unlisted"] == ["notes.md"]
    assert found["num_files"] == count - 2
    other = tlkit.load(folder / "model.keras")
    other.trainable_variables[0].assign_add(np.full(other.trainable_variables[0].shape, 0.1))
    tlkit.save(other, folder / "model.keras")
    for words in (["verify", str(folder)], ["predict", str(folder), str(folder / "confusion.png")]):
        assert app.main(words) in (app.WRONG_ARGUMENTS, app.WRONG_DATA)
        message = capsys.readouterr().err
        assert "model.keras" in message and "--accept" in message
    assert app.main(["verify", str(folder), "--accept"]) == app.DONE
    assert app.main(["predict", str(folder), str(folder / "confusion.png")]) == app.DONE


def test_a_report_lists_its_files_and_keeps_what_was_edited(listed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(listed, tmp_path / "run")
    (folder / "report.md").write_text("My own words.")
    experiments.report(folder)
    assert (folder / "report.md.edited").read_text() == "My own words."
    assert (folder / "report.md").read_text() == (listed / "report.md").read_text()
    found = experiments.verify_run(folder)
    assert not found.edited and found.unlisted == ("report.md.edited",)


def test_a_kill_between_a_file_and_the_list_leaves_a_run_that_is_read(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checksums._write
    for survived in (0, 1, 2):
        folder = shutil.copytree(listed, tmp_path / str(survived))
        writes = []

        def write(target: Path, sums: object) -> None:
            if len(writes) == survived:  # noqa: B023
                raise KeyboardInterrupt
            writes.append(real(target, sums))  # noqa: B023

        monkeypatch.setattr(checksums, "_write", write)
        with suppress(KeyboardInterrupt), checksums.replace_listed(folder / "exports.json") as new:
            new.write_text('{"exports": [{"file": "a"}]}')
        assert len(writes) == survived
        assert len(export_records.load(folder)) == (survived > 0)
        experiments.verify_run(folder)


@pytest.mark.parametrize(
    "text", ["x", "0" * 64 + "  ../a", "0" * 64 + "  /a", "\0", "[" * 99, "0" * 64 + " a"]
)
def test_a_damaged_list_is_named_too(listed: Path, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(listed, tmp_path / "run")
    (folder / checksums.NAME).write_text(text)
    for call in (experiments.verify_run, run_folder.load_run, experiments.load_classifier):
        with pytest.raises(ConfigError, match=r"SHA256SUMS' must have a SHA-256.*another line 1"):
            call(folder, **({"data": ""} if call is experiments.load_classifier else {}))
    (folder / checksums.NAME).write_text("")
    with pytest.raises(ConfigError, match="SHA256SUMS does not list it"):
        run_folder.load_run(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EOF|No data left"),
        (b"\x93NUMPY\x01\x00", "magic|header|EOF|Unable"),
        (np.array([1.0, np.nan]), "infinite or not a number"),
        (np.array(["a"]), "not hold an array of numbers"),
        (np.array([None]), "allow_pickle"),
    ],
    ids=["empty", "cut", "nan", "text", "objects"],
)
def test_an_array_must_hold_numbers(
    tmp_path: Path, content: bytes | np.ndarray, reason: str
) -> None:
    path = tmp_path / "fold_probabilities.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(ConfigError, match=f"(?s)must be as the run wrote it.*({reason})"):
        run_files.read_array(path)


def test_the_command_names_a_damaged_file(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "config.json"
    content = path.read_bytes()
    for words in (["report", str(run)], ["evaluate", str(run), str(photos)]):
        path.write_bytes(_cut(content))
        try:
            assert app.main(words) == app.WRONG_ARGUMENTS
        finally:
            path.write_bytes(content)
        assert "config.json' must be as the run wrote it" in capsys.readouterr().err
