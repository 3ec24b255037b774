import hashlib
from collections.abc import Callable
from pathlib import Path

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tlkit.caching import shards
from tlkit.errors import DataError

DTYPES = st.sampled_from(list(shards._DTYPES.values()))
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
LAYOUTS = st.sampled_from([np.asarray, np.transpose, lambda array: array[::-1]])
SAMPLE = [np.arange(12, dtype="float32").reshape(4, 3), np.arange(4)]


def put(folder: Path, arrays: list[np.ndarray]) -> Path:
    path = folder / f"it{shards.SUFFIX}"
    content = shards.to_bytes([shards.to_storable(array) for array in arrays], path)
    path.write_bytes(content)
    shards.checksum_path(path).write_bytes(shards.checksum(content, path.name))
    return path


@given(arrays=st.lists(ARRAYS, max_size=4), layout=LAYOUTS)
def test_what_is_loaded_is_what_was_written_and_safetensors_reads_it_too(
    tmp_path_factory: pytest.TempPathFactory, arrays: list[np.ndarray], layout: Callable
) -> None:
    arrays = [layout(array) for array in arrays]
    path = put(tmp_path_factory.mktemp("shard"), arrays)
    others = safetensors.numpy.load_file(path)
    assert len(others) == len(arrays)
    for index, (found, wanted) in enumerate(zip(shards.load(path), arrays, strict=True)):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(others[f"array_{index}"], wanted)


def test_another_byte_order_is_converted(tmp_path: Path) -> None:
    (found,) = shards.load(put(tmp_path, [np.arange(3, dtype=">f4")]))
    np.testing.assert_array_equal(found, np.arange(3, dtype="float32"), strict=True)


def test_arrays_are_mapped_aligned_and_read_only_with_one_open_file(tmp_path: Path) -> None:
    arrays = [np.arange(3, dtype="int8"), np.ones((2, 5), "complex64"), np.arange(7.0)]
    path = put(tmp_path, arrays)
    open_files = Path("/proc/self/fd")
    before = list(open_files.iterdir()) if open_files.exists() else None
    found = shards.load(path)
    assert before is None or len(list(open_files.iterdir())) == len(before) + 1
    for array in found:
        assert isinstance(array, np.memmap)
        assert array.flags.aligned
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_checksum_is_what_sha256sum_reads(tmp_path: Path) -> None:
    path = put(tmp_path, SAMPLE)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "it.sha256").read_text() == f"{digest}  it.safetensors\n"


@pytest.mark.parametrize(
    "array",
    [
        np.float32(1).reshape(()),
        np.array(["a", None]),
        np.zeros(2, [("a", "f4")]),
        np.zeros(3, "complex128"),
        np.zeros(3, "M8[s]"),
    ],
    ids=["no axis", "objects", "fields", "complex128", "dates"],
)
def test_an_array_that_would_not_come_back_is_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="must have an axis and a dtype that safetensors and NumPy"):
        shards.to_storable(array)


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


@pytest.mark.parametrize("suffix", [shards.SUFFIX, ".sha256"])
def test_any_damage_is_found(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, SAMPLE)
    file = path.with_suffix(suffix)
    good = file.read_bytes()
    for content in (
        *(_flip(good, place) for place in range(len(good))),
        *(good[:length] for length in range(len(good))),
        good + b"\n",
        b"something else",
    ):
        file.write_bytes(content)
        with pytest.raises(shards.DamagedError):
            shards.load(path)
    file.unlink()
    with pytest.raises(FileNotFoundError if suffix == shards.SUFFIX else shards.DamagedError):
        shards.load(path)
    file.write_bytes(good)
    assert len(shards.load(path)) == 2


@pytest.mark.parametrize(
    "header",
    [b"{}", b"[1]", b"null", b"1", b"{", b"\xff", b'{"__metadata__": 1}', b"[" * 10_000]
    + [
        b'{"__metadata__": {"shard": "%s"}, "array_0": ' + each + b"}"
        for each in (b"1", b"{}", b'{"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}')
    ],
)
def test_a_header_that_was_changed_is_damage_whatever_the_checksum(
    tmp_path: Path, header: bytes
) -> None:
    path = put(tmp_path, SAMPLE)
    header = header.replace(b"%s", f"{tmp_path.name}/it".encode())
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    path.write_bytes(content)
    shards.checksum_path(path).write_bytes(shards.checksum(content, path.name))
    for load in (shards.load, shards.read_last):
        with pytest.raises(shards.DamagedError):
            load(path)
    assert shards.count_rows(path) in (0, 9)


def test_pages_that_are_released_can_be_read_again(tmp_path: Path) -> None:
    path = put(tmp_path, SAMPLE)
    found = shards.load(path)
    resident = Path("/proc/self/smaps")
    shards.release_pages(found)
    if resident.exists():
        own = resident.read_text().split(path.name)[1]
        assert next(line for line in own.splitlines() if line.startswith("Rss:")).split()[1] == "0"
    np.testing.assert_array_equal(found[0], SAMPLE[0])


def test_there_is_nothing_to_release_of_arrays_in_memory() -> None:
    shards.release_pages(SAMPLE)
    shards.release_pages([])
