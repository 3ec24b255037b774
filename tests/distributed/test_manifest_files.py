from collections.abc import Callable
from pathlib import Path

import pytest

from tlkit.distributed import manifest_files
from tlkit.distributed.manifest import Manifest, open_manifest
from tlkit.distributed.manifest_files import survey_manifest, write_manifest
from tlkit.distributed.storage import Location
from tlkit.errors import DataError

Write = Callable[[list[tuple[str, str]]], Manifest]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a manifest in files of 30 rows, and open it."""
    monkeypatch.setattr(manifest_files, "_FILE_ROWS", 30)

    def write(rows: list[tuple[str, str]]) -> Manifest:
        write_manifest(Location(str(tmp_path)), iter(rows))
        return open_manifest(
            Location(str(tmp_path)),
            folder=None,
            path_column="path",
            label_column="label",
            outside_paths=False,
        )

    return write


def _rows(count: int) -> list[tuple[str, str]]:
    return [(f"{number}.jpg", "cat" if number % 4 else "dog") for number in range(count)]


def test_rows_are_written_in_files_and_read_in_their_order(write: Write, tmp_path: Path) -> None:
    manifest = write(_rows(100))
    assert len(manifest.files) == 4
    found = [manifest.read(part) for part in manifest.plan(7)]
    assert [path for each in found for path in each.paths] == [path for path, _ in _rows(100)]
    assert len(write(_rows(31)).files) == 2  # files of the longer one are removed
    with pytest.raises(DataError, match=rf"images for the list in '{tmp_path}'"):
        write([])


def test_a_survey_counts_classes_and_draws_rows(write: Write) -> None:
    found = survey_manifest(write(_rows(100)), max_drawn=20, seed=3)
    assert (found.num_rows, found.class_counts) == (100, {"cat": 75, "dog": 25})
    numbers = [int(path.partition(".")[0]) for path in found.paths]
    assert len(numbers) == 20
    assert numbers == sorted(numbers)
    assert found.labels == ["cat" if number % 4 else "dog" for number in numbers]
    more = survey_manifest(write(_rows(110)), max_drawn=20, seed=3)
    assert len({*more.paths} & {*found.paths}) >= 15  # a few new rows replace a few
    other = survey_manifest(write(_rows(100)), max_drawn=20, seed=4)
    assert other.paths != found.paths


def test_a_manifest_that_was_written_again_is_read_again(write: Write) -> None:
    first = write(_rows(20))
    assert first.read(next(first.plan(5))).paths[0] == "0.jpg"
    again = write([(f"other {path}", label) for path, label in _rows(20)])
    assert again.read(next(again.plan(5))).paths[0] == "other 0.jpg"


def test_excluded_rows_are_counted_but_not_drawn(write: Write) -> None:
    rows = [(f"{'test' if number % 4 else 'train'}/{number}.jpg", "cat") for number in range(40)]
    found = survey_manifest(write(rows), max_drawn=20, seed=3, excluded=("test/",))
    assert (found.num_rows, found.num_eligible, found.class_counts) == (40, 10, {"cat": 40})
    assert found.paths == [path for path, _ in rows if path.startswith("train/")]


def test_rows_that_can_t_be_used_are_not_drawn(write: Write) -> None:
    rows = [("../1.jpg", "cat"), ("", "cat"), ("2.jpg", ""), ("3.jpg", "dog")]
    found = survey_manifest(write(rows), max_drawn=20, seed=3)
    assert (found.num_rows, found.paths) == (4, ["3.jpg"])
