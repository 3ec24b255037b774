import csv
from pathlib import Path

import numpy as np
import pytest

from tlkit._internal.table_files import YES_NO, check_target, open_table
from tlkit.errors import ConfigError, StoreError

COLUMNS = {"path": 0, "share": 1, "features": 3, "is_new": YES_NO}
ROWS = [
    ['a, "b"\'ü日.jpg', np.float32(0.1), np.asarray([1, 2.5, 1 / 3], "float32"), True],
    ["=cmd.jpg", None, None, None],
]


def write(path: Path, rows=ROWS) -> Path:
    with open_table(path, COLUMNS) as add:
        for row in rows:
            add(row)
    return path


def test_csv_quotes_keeps_float32_and_is_no_formula(tmp_path: Path) -> None:
    with write(tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["path"] == ROWS[0][0]
    assert np.float32(first["features_2"]) == ROWS[0][2][2]
    assert (first["share"], first["is_new"]) == ("0.1", "true")
    empty = dict.fromkeys(("share", "features_0", "features_1", "features_2", "is_new"), "")
    assert second == {"path": "./=cmd.jpg", **empty}


def test_parquet_has_types_and_missing_values(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = ROWS * 1500  # more than are written at a time
    table = parquet.read_table(write(tmp_path / "a.parquet", rows)).to_pydict()
    assert table["path"] == [row[0] for row in rows]
    assert table["share"][:2] == [np.float32(0.1), None]
    np.testing.assert_array_equal(table["features"][2998], ROWS[0][2])
    assert table["features"][2999] is None
    assert table["is_new"][:2] == [True, None]


def test_npz_has_an_array_for_each_column(tmp_path: Path) -> None:
    with np.load(write(tmp_path / "a.npz", ROWS[:1] * 5)) as found:
        assert found["path"].tolist() == [ROWS[0][0]] * 5
        np.testing.assert_array_equal(found["features"], [ROWS[0][2]] * 5)
        assert found["is_new"].tolist() == [True] * 5


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_an_interrupted_table_is_not_written(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    old = tmp_path / f"a{suffix}"
    old.write_text("old")
    with pytest.raises(KeyboardInterrupt), open_table(old, COLUMNS) as add:
        add(ROWS[0])
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_text() == "old"


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with (
        pytest.raises(StoreError, match=r"Can't write '.*a.csv': No such file"),
        open_table(tmp_path / "b" / "a.csv", COLUMNS),
    ):
        pass
    for wrong in (tmp_path / "b" / "a.csv", tmp_path / "a.txt", tmp_path / "a"):
        with pytest.raises(ConfigError, match="`csv` must be a .csv file in an existing folder"):
            check_target("csv", wrong, [".csv"])
