"""Damaged files of a run: each is one clear error, from every function that reads it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tlkit.cli import app
from tlkit.errors import ConfigError, TlkitError
from tlkit.experiments import export_records, loading, reporting, run_files, run_folder, split_csv


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


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as `tlkit train` wrote it, with the list of an export."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("damaged") / "run")
    (folder / "exports.json").write_text(json.dumps({"exports": []}))
    return folder


def _read(run: Path) -> None:
    """Read every text file of a run as the library does, without its images and its model."""
    config = run_files.read_json(run / "config.json", "environment")
    run_folder.load_run(run)
    loading._read_settings(run)
    with run_files.explain_damage(run / "config.json"):
        reporting._read_making(config["making"])
    export_records.load(run)
    split_csv.match_rows(loading.load_images(_experiment(run)), run / "split.csv")


def _experiment(run: Path) -> loading.Experiment:
    with run_files.explain_damage(run / "config.json"):
        return loading.Experiment.from_dict(loading._read_settings(run))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["config.json", "metrics.json", "history.csv", "split.csv", "exports.json"]
)
def test_a_damaged_file_is_named_or_read(run: Path, name: str, damage: str) -> None:
    path = run / name
    content = path.read_bytes()
    changed = DAMAGES[damage](content)
    path.write_bytes(changed)
    try:
        _read(run)
    except TlkitError as error:
        message = str(error)
        assert len(message) < 500
        assert name in message or "images must not have changed" in message
        is_refused = True
    else:
        is_refused = False
    finally:
        path.write_bytes(content)
    if not damage.startswith("flip"):
        expected = {("exports.json", "object"): True}.get((name, damage), changed != content)
        assert is_refused == expected, message


def test_an_undamaged_run_is_read(run: Path) -> None:
    _read(run)


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
