from pathlib import Path

import pytest
from tests.distributed.conftest import write_manifest

from tlkit.distributed.manifest import Manifest, find_folder, open_manifest
from tlkit.distributed.storage import Location, locate
from tlkit.errors import ConfigError


def open_table(file: Path, **settings: object) -> Manifest:
    how = {"folder": None, "path_column": "path", "label_column": "label", "outside_paths": False}
    return open_manifest(Location(str(file)), **{**how, **settings})


def test_parts_cover_all_rows_in_order(tmp_path: Path) -> None:
    rows = [(f"{number}.jpg", "ab"[number % 2]) for number in range(25)]
    write_manifest(tmp_path / "1.parquet", rows[:11], group=4)
    write_manifest(tmp_path / "2.parquet", rows[11:])
    table = open_table(tmp_path)
    parts = list(table.plan(3))
    assert [part.number for part in parts] == list(range(len(parts)))
    read = [table.read(part) for part in parts]
    assert [path for each in read for path in each.paths] == [path for path, _ in rows]
    assert [label for each in read for label in each.labels] == [label for _, label in rows]
    assert len({each.name for each in read}) == len(parts)


def test_without_labels_no_column_is_needed(tmp_path: Path) -> None:
    write_manifest(tmp_path / "1.parquet", [("a.jpg", None)])
    table = open_table(tmp_path / "1.parquet", label_column=None)
    assert table.read(next(table.plan(5))).labels == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path_column": "file"}, "must have a column 'file', got ['path', 'label']"),
        ({"label_column": "labels"}, "Did you mean 'label'?"),
    ],
)
def test_a_missing_column_is_named(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    write_manifest(tmp_path / "1.parquet", [("a.jpg", "a")])
    with pytest.raises(ConfigError) as caught:
        open_table(tmp_path / "1.parquet", **settings)
    assert message in str(caught.value)


def test_relative_paths_start_from_the_folder_of_the_table(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder.parquet", tmp_path / "without-ending"
    folder.mkdir()
    for each in (folder / "1.parquet", file):
        write_manifest(each, [("a.jpg", "a")])
    for place, expected in ((folder, folder), (file, tmp_path)):
        assert find_folder(Location(str(place))) == Location(str(expected))
        assert open_table(place).folder == Location(str(expected))


def test_a_manifest_that_can_t_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it does not exist"):
        open_table(tmp_path / "none.parquet")
    with pytest.raises(ConfigError, match="it has no .parquet file"):
        open_table(tmp_path)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(ConfigError, match="must be a Parquet file"):
        open_table(tmp_path / "text.parquet")


@pytest.mark.usefixtures("closed_bucket")
def test_a_bucket_that_denies_access_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        open_manifest(
            locate("manifest", "closed://bucket/photos.parquet"),
            folder=None,
            path_column="path",
            label_column="label",
            outside_paths=False,
        )
    assert "`manifest` must be a Parquet file" in str(caught.value)
    assert "'closed://bucket/photos.parquet': Access denied" in str(caught.value)
