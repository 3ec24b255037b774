from pathlib import Path

import numpy as np
import pytest

from tlkit.distributed import state_files
from tlkit.distributed.storage import Location
from tlkit.errors import StoreError

pytest.importorskip("pyarrow", reason="the extra 'ray' is not installed")


def _write(folder: Location, epochs: int) -> None:
    for epoch in range(epochs + 1):
        arrays = {"weights": np.full(3, epoch, "float32")}
        state_files.write(folder, epoch, {"epoch": epoch}, arrays, keep_epochs=(epoch - 1, 1))


@pytest.mark.parametrize("scheme", ["", "memory://bucket"])
def test_some_epochs_are_kept(scheme: str, tmp_path: Path) -> None:
    if scheme:
        pytest.importorskip("fsspec")
    folder = Location(f"{scheme}{tmp_path}/run")
    assert state_files.read_last(folder) is None
    _write(folder, 4)
    assert state_files.list_epochs(folder) == [1, 3, 4]
    last = state_files.read_last(folder)
    assert last is not None
    assert last.values == {"epoch": 4}
    np.testing.assert_array_equal(last.arrays["weights"], [4, 4, 4])
    assert state_files.read(folder, 2) is None


def test_an_earlier_state_stands_for_a_damaged_one(tmp_path: Path) -> None:
    folder = Location(str(tmp_path))
    _write(folder, 2)
    (tmp_path / "state-000002.safetensors").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="state-000002.safetensors' is damaged"):
        found = state_files.read_last(folder)
    assert found is not None
    assert found.values == {"epoch": 1}
    (tmp_path / "state-000001.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(StoreError, match="Every checkpoint in"):
        state_files.read_last(folder)


def test_a_state_that_can_t_be_read_is_not_taken_for_damaged(tmp_path: Path) -> None:
    (tmp_path / "state-000002.safetensors").mkdir()
    with pytest.raises(StoreError, match="Can't read '.*state-000002.safetensors': Is a directory"):
        state_files.read(Location(str(tmp_path)), 2)


@pytest.mark.usefixtures("closed_bucket")
def test_a_closed_bucket_is_not_taken_for_damaged() -> None:
    with pytest.raises(StoreError, match="Can't read 'closed://bucket/state-000002.safetensors'"):
        state_files.read(Location("closed://bucket"), 2)
