from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.caching import entries, shards
from tlkit.caching.entries import Entry
from tlkit.caching.store import Store
from tlkit.data.digests import digest_texts


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Store(folder=tmp_path).entry({"of": "rows"})


def digests(*numbers: int) -> np.ndarray:
    return digest_texts(map(str, numbers))


def write(entry: Entry, *numbers: int) -> None:
    """Write a row for each number, which holds it."""
    values = np.asarray(numbers, "float32")
    entry.write_rows(digests(*numbers), [values[:, None] * np.ones(3, "float32"), values])


def read(entry: Entry, *numbers: int) -> list[float | None]:
    """The number in each row; None for rows that are not stored."""
    found = entry.find_rows(digests(*numbers))
    whole = [np.concatenate(each) for each in zip(*found.shards, strict=True)]
    for place, number in zip(found.places, numbers, strict=True):
        assert place < 0 or (whole[0][place] == number).all()
    return [None if place < 0 else float(whole[1][place]) for place in found.places]


def paths(entry: Entry) -> list[Path]:
    return sorted((entry.folder / entry.key).glob(f"*{shards.SUFFIX}"))


def test_rows_are_found_by_their_digests_in_any_order_and_shard(entry: Entry) -> None:
    assert read(entry, 1, 2) == [None, None]
    write(entry, 1, 2, 3)
    write(entry, 5, 4)
    write(entry, 6, 3)  # another process has run 3 too
    assert read(entry, 4, 9, 1, 3, 4, 6) == [4, None, 1, 3, 4, 6]
    assert entry.locate_rows(digests(4, 9, 1)).tolist() == [True, False, True]


@given(
    known=st.lists(st.integers(0, 3), max_size=12),
    wanted=st.lists(st.integers(0, 4), max_size=12),
    halves=st.booleans(),
)
def test_matching_agrees_with_a_search_by_hand(
    known: list[int], wanted: list[int], halves: bool
) -> None:
    """Also for digests that agree in one half, of which only what is the same is found."""

    def pair(number: int) -> list[int]:
        return [number, 7] if halves else [7 + number // 2, number % 2]

    stored = np.asarray([pair(each) for each in known], "uint64").reshape(-1, 2)
    places = entries.match(stored, np.asarray([pair(each) for each in wanted]).reshape(-1, 2))
    for number, place in zip(wanted, places, strict=True):
        assert place < 0 or known[place] == number
        assert not halves or (place >= 0) == (number in known)


@pytest.mark.parametrize("where", [0, 4, 60, -3])
def test_rows_of_a_damaged_shard_are_missing_and_it_is_deleted(entry: Entry, where: int) -> None:
    write(entry, 1, 2)
    write(entry, 3)
    damaged = entry.folder / entry.key / f"{entries.digest(digests(1, 2))}{shards.SUFFIX}"
    raw = bytearray(damaged.read_bytes())
    raw[where] ^= 0xFF
    damaged.write_bytes(raw)
    assert read(entry, 1, 2, 3) == [None, None, 3]
    assert len(paths(entry)) == 1
    write(entry, 1, 2)
    assert read(entry, 1, 2, 3) == [1, 2, 3]


def swap(one: Path, other: Path) -> None:
    """Swap two shards, with checksums that fit."""
    contents = one.read_bytes(), other.read_bytes()
    assert contents[0] != contents[1]
    for path, content in zip((other, one), contents, strict=True):
        path.write_bytes(content)
        shards.checksum_path(path).write_bytes(shards.checksum(content, path.name))


def test_shards_that_were_swapped_are_refused(entry: Entry) -> None:
    for name in "abc":  # as augmented copies are stored
        entry.write(name, [np.full((3, 2), ord(name))])
    swap(*(entry.folder / entry.key / f"{name}{shards.SUFFIX}" for name in "ab"))
    assert [entry.read(name) for name in "ab"] == [None, None]
    assert [path.stem for path in paths(entry)] == ["c"]
    np.testing.assert_array_equal(entry.read("c")[0], ord("c"))


def test_rows_of_another_entry_or_shard_are_refused(entry: Entry) -> None:
    other = Store(folder=entry.folder).entry({"of": "another backbone"})
    for each, first in ((entry, 10), (other, 20)):
        values = np.arange(first, first + 2, dtype="float32")[:, None]
        each.write_rows(digests(1, 2), [values, values[:, 0]])
        write(each, 3, 4)
    names = {path.stem for path in paths(entry)}
    assert names == {path.stem for path in paths(other)}  # they hold the same images
    name = entries.digest(digests(1, 2))
    swap(*(each.folder / each.key / f"{name}{shards.SUFFIX}" for each in (entry, other)))
    assert read(entry, 3, 4) == read(other, 3, 4) == [3, 4]
    for each in (entry, other):
        assert each.find_rows(digests(1, 2)).places.tolist() == [-1, -1]
        assert name not in {path.stem for path in paths(each)}
    write(entry, 1, 2)
    swap(*paths(entry))
    assert read(entry, 1, 2, 3, 4) == [None] * 4
    assert paths(entry) == []


def test_many_small_shards_are_joined_by_a_lookup(entry: Entry) -> None:
    for number in range(0, 40, 2):
        write(entry, number, number + 1)
    unused = digests(100)
    entry.write_rows(unused, [np.full((1, 3), 100, "float32"), np.full(1, 100, "float32")])
    assert read(entry, *range(40)) == list(range(40))
    assert len(paths(entry)) == 2  # what was not used with them is not joined
    assert read(entry, 100, *range(40)) == [100, *range(40)]
    write(entry, 50)
    assert read(entry, 50, 3) == [50, 3]


def test_a_shard_that_is_joined_or_pruned_during_a_lookup_is_looked_up_again(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(entry, 1)
    write(entry, 2)
    real, calls = shards.load, []

    def load(path: Path) -> Any:
        if not calls:  # another process joins both, then this one opens the first
            write(entry, 1, 2)
            for number in (1, 2):
                name = entries.digest(digests(number))
                (entry.folder / entry.key / f"{name}{shards.SUFFIX}").unlink()
        calls.append(path)
        return real(path)

    monkeypatch.setattr(shards, "load", load)
    assert read(entry, 1, 2) == [1, 2]
    assert len(calls) == 3  # two that are gone, and what they were joined to


def test_pruning_takes_the_shards_used_longest_ago(entry: Entry) -> None:
    import os

    for number in range(4):
        write(entry, number)
    store = Store(folder=entry.folder)
    for path in paths(entry):
        os.utime(path, (1e9, 1e9))
    read(entry, 1, 3)  # uses them
    info = store.entries()[0]
    assert (info.images, info.shards) == (4, 4)
    store.prune(keep_bytes=info.bytes // 2 + 200)
    assert read(entry, 0, 1, 2, 3) == [None, 1, None, 3]
    assert store.prune(older_than_days=1) == 0
    assert len(paths(entry)) == 2


def test_features_that_an_entry_holds_among_others_are_found(tmp_path: Path) -> None:
    store = Store(folder=tmp_path)
    facts = {"columns": ["a", "b", "c"], "last_layer": "c", "dtype": "float32"}
    store.entry(facts).write("x", [np.zeros(1)])
    store.entry({"no": "columns"}).write("x", [np.zeros(1)])
    found = store.wider_entries({"columns": ["c", "a"], "dtype": "float32"})
    assert [(entry.key, places) for entry, places in found] == [(store.key(facts), [2, 0])]
    assert store.wider_entries(facts) == []
    assert store.wider_entries({"columns": ["a", "d"], "dtype": "float32"}) == []
    assert store.wider_entries({"columns": ["a"], "dtype": "float16"}) == []
