import os
import shutil
from pathlib import Path
from typing import Any

import pytest

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
        f"Can't write 3.2 GB to '{folder}': there is too little room; 2.5 MB are free on its disk. "
        "Make room with tlkit.caching.store.Store(folder=...).prune(...), or choose another folder."
    )
