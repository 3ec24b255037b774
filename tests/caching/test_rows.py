from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.caching.rows import LazyRows, Rows
from tlkit.caching.store import Entry, Store
from tlkit.errors import DataError


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Store(folder=tmp_path).entry({})


def assert_equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@st.composite
def in_shards(draw: st.DrawFn) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Two tensors, and the same in shards of unequal length."""
    rows = draw(st.integers(0, 30))
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=5)))
    whole = [np.arange(rows * 6, dtype="float32").reshape(rows, 3, 2), np.arange(rows) + 100]
    parts = zip(*(np.split(tensor, cuts) for tensor in whole), strict=True)
    return whole, [list(part) for part in parts]


@given(made=in_shards(), data=st.data())
def test_rows_are_taken_as_numpy_takes_them(made: Any, data: st.DataObject) -> None:
    whole, shards = made
    count = len(whole[1])
    rows = Rows(shards)
    assert len(rows) == count
    assert_equal(rows.arrays(), whole)
    anywhere = st.lists(st.integers(0, count - 1), max_size=40) if count else st.just([])
    indices = np.array(data.draw(anywhere), data.draw(st.sampled_from(["int64", "uint8", "int32"])))
    assert_equal(rows.take(indices), [tensor[indices] for tensor in whole])
    here = data.draw(st.slices(count))
    assert_equal(rows[here], [tensor[here] for tensor in whole])


@pytest.mark.parametrize("lengths", [[6], [2, 3, 1]])
@pytest.mark.parametrize("wrong", [-1, 6, 1000, -1000])
def test_an_index_outside_is_refused(lengths: list[int], wrong: int) -> None:
    rows = Rows([[np.arange(length)] for length in lengths])
    with pytest.raises(IndexError, match=f"`indices` must be from 0 to 5, got {wrong}"):
        rows.take(np.array([0, wrong, 3]))


@pytest.mark.parametrize("wrong", [np.ones(6, bool), np.array([0.0]), np.array([[1]])])
def test_indices_of_another_kind_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(IndexError, match="`indices` must be whole numbers on one axis, got"):
        Rows([[np.arange(4)], [np.arange(2)]]).take(wrong)


def test_rows_say_what_they_are(entry: Entry) -> None:
    shards = [
        [np.zeros((2, 4, 3), "float16"), np.zeros(2)],
        [np.zeros((5, 4, 3), "float16"), np.zeros(5)],
    ]
    rows = Rows(shards)
    assert rows.shapes == ((4, 3), ())
    assert rows.dtypes == (np.dtype("float16"), np.dtype("float64"))
    assert rows.nbytes == 7 * (4 * 3 * 2 + 8)
    assert rows.in_memory
    assert not Rows([shards[0], entry.write("aa", shards[1])]).in_memory


def test_what_is_taken_is_fresh_and_in_memory(entry: Entry) -> None:
    one = np.arange(4)
    for shards in ([[one]], [entry.write("aa", [one])], [[one], entry.write("bb", [one])]):
        rows = Rows(shards)
        for taken in (rows.take(np.arange(4)), rows[1:3]):
            assert type(taken[0]) is np.ndarray
            taken[0][:] = -1
        assert_equal(rows[:4], [np.arange(4)])


def test_arrays_copy_only_what_must_be_copied(entry: Entry) -> None:
    one = np.arange(4)
    assert Rows([[one]]).arrays()[0] is one
    (copied,) = Rows([entry.write("aa", [one])]).arrays()
    assert type(copied) is np.ndarray
    assert copied.flags.writeable
    np.testing.assert_array_equal(copied, one)


@pytest.mark.parametrize(
    ("shards", "words"),
    [
        ([], "`shards` must hold at least one shard of one array, got none"),
        ([[]], "`shards` must hold at least one shard of one array, got none"),
        ([[np.zeros(2)], [np.zeros(2, "float32")]], "`shards` must agree: 1 differs from 0"),
        ([[np.zeros(2)], [np.zeros((2, 1))]], "`shards` must agree: 1 differs from 0"),
        ([[np.zeros(2)], [np.zeros(2), np.zeros(2)]], "`shards` must agree: 1 differs from 0"),
        ([[np.zeros(2), np.zeros(3)]], r"`shards\[0\]` must have as many rows in each array"),
        ([[np.zeros(())]], r"`shards\[0\]` must have as many rows in each array"),
    ],
)
def test_shards_that_do_not_fit_are_refused(shards: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Rows(shards)


def test_lazy_images_are_read_when_taken() -> None:
    asked = []

    class Images:
        def __getitem__(self, indices: np.ndarray) -> np.ndarray:
            asked.append(indices.tolist())
            return indices * 10

    rows = LazyRows(Images())  # type: ignore[arg-type]  # all that it needs
    assert asked == []
    assert_equal(rows.take(np.array([3, 1])), [np.array([30, 10])])
    assert asked == [[3, 1]]
