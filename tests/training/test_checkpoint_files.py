from pathlib import Path

import numpy as np
import pytest

from tlkit.errors import ConfigError, StoreError
from tlkit.training.checkpoint_files import CheckpointFolder

ARRAYS = {
    "scalar": np.float32(3.5).reshape(()),
    "matrix": np.arange(6, dtype="float64").reshape(2, 3).T,  # not contiguous
    "bits": np.array([True, False]),
    "seed": np.array([1, 2], "uint32"),
    "empty": np.zeros((0, 3), "float16"),
}


def test_a_state_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "new" / "checkpoint")
    assert folder.load() is None
    folder.save({"epoch": 3, "loss": float("nan")}, ARRAYS)
    state = folder.load()
    assert state is not None
    assert state.values["epoch"] == 3
    assert np.isnan(state.values["loss"])
    for name, array in ARRAYS.items():
        assert state.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(state.arrays[name], array)


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for epoch in range(12):
        folder.save({"epoch": epoch}, ARRAYS)
    assert len(list(tmp_path.iterdir())) == 2
    state = folder.load()
    assert state is not None
    assert state.values == {"epoch": 11}
    folder.drop_last()
    state = folder.load()
    assert state is not None
    assert state.values == {"epoch": 10}


@pytest.mark.parametrize("where", [0.001, 0.2, 0.5, 0.999])
def test_a_flipped_bit_anywhere_gives_the_state_before(tmp_path: Path, where: float) -> None:
    folder = CheckpointFolder(tmp_path)
    for epoch in range(2):
        folder.save({"epoch": epoch}, ARRAYS)
    last = max(tmp_path.iterdir())
    content = bytearray(last.read_bytes())
    content[int(where * len(content))] ^= 4
    last.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        state = folder.load()
    assert state is not None
    assert state.values == {"epoch": 0}


def test_states_that_are_all_damaged_are_an_error_and_not_a_new_start(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save({"epoch": 0}, ARRAYS)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(StoreError, match="Delete the folder to train from the start"),
    ):
        folder.load()


def test_equal_arrays_are_written_once(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random(1000)
    CheckpointFolder(tmp_path).save({}, {"now": array, "best": array.copy()})
    [path] = tmp_path.iterdir()
    assert path.stat().st_size < 1.5 * array.nbytes


def test_notes_are_kept_and_damaged_ones_are_as_none(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.read_notes() == {}
    folder.write_notes({"layers": ["a"]})
    assert folder.read_notes() == {"layers": ["a"]}
    for damaged in (b"", b"null", b"[1]", b"\xff", b"[" * 100_000):
        (tmp_path / "notes.json").write_bytes(damaged)
        assert folder.read_notes() == {}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="must be a folder"):
        CheckpointFolder(tmp_path / "file")
