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
    with pytest.warns(UserWarning, match="checkpoint of epoch 2 in .* is damaged"):
        found = state_files.read_last(folder)
    assert found is not None
    assert found.values == {"epoch": 1}
    (tmp_path / "state-000001.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(StoreError, match="Every checkpoint in"):
        state_files.read_last(folder)
