import ast
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import tlkit
from tlkit._internal import files
from tlkit.errors import StoreError


def write(target: Path, text: str) -> None:
    with files.replace_atomically(target) as temporary:
        temporary.write_text(text)


def test_a_file_is_replaced_whole_and_its_temporary_name_ends_alike(tmp_path: Path) -> None:
    target = tmp_path / "model.keras"
    target.write_text("old")
    with files.replace_atomically(target) as temporary:
        temporary.write_text("new")
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".keras")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    with files.replace_atomically(target) as temporary:
        temporary.mkdir()
        write(temporary / "inner.txt", "inside")
        assert list(target.iterdir()) == []
    assert (target / "inner.txt").read_text() == "inside"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_holds_something_stays(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    with pytest.raises(OSError), files.replace_atomically(target) as temporary:
        temporary.mkdir()
    assert list(tmp_path.rglob("*")) == [target, target / "mine.txt"]


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_block_that_fails_leaves_nothing(tmp_path: Path, kind: str) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        files.replace_atomically(tmp_path / "a.txt") as temporary,
    ):
        if kind == "file":
            temporary.write_text("half")
        if kind == "folder":
            temporary.mkdir()
            (temporary / "half.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_on_the_disk_before_the_name_is_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real = Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: events.append("fsync"))
    monkeypatch.setattr(Path, "replace", lambda *paths: events.append("rename") or real(*paths))
    with files.replace_atomically(tmp_path / "run") as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "one.txt").write_text("1")
        (temporary / "inner" / "two.txt").write_text("2")
    # two files and the two folders they are in; then the name, in the folder above
    assert events == ["fsync"] * 4 + ["rename", "fsync"]


def test_check_room_compares_with_the_free_bytes_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a" / "b"
    asked = []

    def usage(path: Path) -> Any:
        if not path.exists():
            raise FileNotFoundError
        asked.append(path)
        return type("Usage", (), {"free": 2_500_000})()

    monkeypatch.setattr(shutil, "disk_usage", usage)
    files.check_room(folder, 2_500_000)
    with pytest.raises(StoreError) as info:
        files.check_room(folder, 3_200_000_000)
    assert set(asked) == {tmp_path}
    assert str(info.value) == (
        f"Can't write 3.2 GB to '{folder}': there is not enough space; 2.5 MB are free on its "
        "disk. "
        "Make room with tlkit.caching.store.Store(folder=...).prune(...), or choose another folder."
    )


def _list_renames(path: Path) -> list[int]:
    """Return the lines of a module that rename files: str.replace has two arguments."""
    calls = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Call)]
    named = [(call, call.func) for call in calls if isinstance(call.func, ast.Attribute)]
    return [
        call.lineno
        for call, function in named
        if (
            function.attr in ("rename", "renames", "move", "link", "symlink")
            and ast.unparse(function.value) not in ("files", "table", "frame")
        )
        or (function.attr == "replace" and len(call.args) == 1 and not call.keywords)
        or ast.unparse(function) == "os.replace"
    ]


def test_every_rename_goes_through_the_one_that_is_safe() -> None:
    modules = {path: _list_renames(path) for path in Path(tlkit.__file__).parent.rglob("*.py")}
    found = {path.name: lines for path, lines in modules.items() if lines}
    assert list(found) == ["files.py"]
    assert len(found["files.py"]) == 1


def test_what_is_renamed_has_been_synced_and_then_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is filled, and an export: as the files that `replace_atomically` writes."""
    events: list[str] = []
    monkeypatch.setattr(files, "sync", lambda path: events.append("sync"))
    monkeypatch.setattr(files, "rename", lambda one, other: events.append("rename"))
    monkeypatch.setattr(files, "sync_folder", lambda path: events.append("folder"))
    (tmp_path / "run").mkdir()
    with files.fill_atomically(tmp_path / "run") as made:
        (made / "one.txt").write_text("1")
        (made / "two.txt").write_text("2")
    assert events == ["sync", "rename", "rename", "folder"]


def test_a_rename_whose_answer_was_lost_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        real(path, target)
        return real(path, target)  # as a client of NFS asks again

    monkeypatch.setattr(Path, "replace", replace)
    write(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    with pytest.raises(FileNotFoundError), files.replace_atomically(tmp_path / "b.txt"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Can't write data (file write failed: errno = 28, error message = '...')"),
        RuntimeError("Can't decrement id ref count (errno = 28)"),  # as h5py says it
    ],
)
def test_a_full_disk_is_one_error_whoever_says_it(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(StoreError, match=r"Can't write '.*model.keras': No space left on device"),
        files.replace_atomically(tmp_path / "model.keras"),
    ):
        raise error
    with pytest.raises(ValueError, match="other"), files.replace_atomically(tmp_path / "model"):
        raise ValueError("other")
