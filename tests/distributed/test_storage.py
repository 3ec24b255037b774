from pathlib import Path

import pytest

from tlkit.distributed.storage import Location, Stamp, locate
from tlkit.errors import ConfigError, StoreError


def test_a_path_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("out", "features").text == (tmp_path / "features").as_posix()
    assert locate("out", f"file://{tmp_path}/a").text == f"{tmp_path.as_posix()}/a"


def test_files_of_an_address_are_those_of_a_folder() -> None:
    pytest.importorskip("fsspec")
    bucket = locate("out", "memory://bucket/photos")
    file = bucket.join("cat/1.parquet")
    assert file.stat() is None
    file.write(b"content")
    bucket.join("_record.parquet").write(b"")
    assert file.read() == b"content"
    with pytest.raises(OSError, match="it is larger than"):
        file.read(max_bytes=6)
    stamp = file.stat()
    assert stamp is not None
    assert stamp.size == 7
    assert [each.text for each in bucket.list_files(".parquet")] == [file.text]
    file.remove()
    assert file.stat() is None


def test_a_local_file_is_written_whole(tmp_path: Path) -> None:
    file = locate("out", tmp_path / "a.bin")
    file.write(b"one")
    file.write(b"other")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    found = file.stat()
    assert found == Stamp(size=5, modified=(tmp_path / "a.bin").stat().st_mtime_ns)


def test_an_unknown_kind_of_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="`out` must be a path, or an address such as"):
        locate("out", "nonsense://bucket/a")


def test_an_absolute_path_or_an_address_leaves_the_folder() -> None:
    folder = Location("/photos")
    assert folder.join("/other/1.jpg").text == "/other/1.jpg"
    assert folder.join("a/1.jpg").parent.text == "/photos/a"


@pytest.mark.usefixtures("closed_bucket")
def test_a_bucket_that_denies_writing_is_named() -> None:
    file = locate("out", "closed://bucket/features/1.parquet")
    with pytest.raises(StoreError, match="Can't write 'closed://bucket/.*': Access denied"):
        file.write(b"content")


def test_only_a_file_can_be_removed(tmp_path: Path) -> None:
    file = Location(str(tmp_path / "a"))
    file.write(b"a")
    file.remove()
    assert file.stat() is None
    file.remove()  # another process may have been faster
    with pytest.raises(StoreError, match="Can't delete"):
        Location(str(tmp_path)).remove()
