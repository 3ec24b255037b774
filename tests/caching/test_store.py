import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit._internal.files import check_room
from tlkit.caching import store
from tlkit.caching.rows import Rows
from tlkit.caching.store import Entry, Store
from tlkit.errors import ConfigError, DataError, StoreError

FACTS = {"backbone": "tiny", "dtype": "float32", "cut": {"layer": "top", "shape": [4, 4, 8]}}
DIGEST = store.digest(np.arange(4))

# A child process has no Keras: the store needs none, and the child begins at once.
CHILD = f"""
import sys, types, os, resource, signal
tlkit = types.ModuleType("tlkit")
tlkit.__path__ = [{str(Path(store.__file__).parent.parent)!r}]
sys.modules["tlkit"] = tlkit
import numpy as np
from tlkit.caching import store
from tlkit.errors import StoreError
assert "keras" not in sys.modules and "tensorflow" not in sys.modules

def shard(number):
    return [np.full((64, 100), number, "float32"), np.arange(number, number + 64)]

entry = store.Store(folder=sys.argv[1]).entry({{"of": "a child"}})
print("ready", flush=True)
"""


def shard(number: int) -> list[np.ndarray]:
    """The same arrays as those of a child."""
    return [np.full((64, 100), number, "float32"), np.arange(number, number + 64)]


def name(number: int) -> str:
    """Return the digest under which a child writes shard `number`."""
    return f"{number:04x}"


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started = []

    def start(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD + code, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Store(folder=tmp_path).entry(FACTS)


def path_of(entry: Entry, digest: str = DIGEST) -> Path:
    return entry.folder / entry.key / f"{digest}.shard"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def same(found: list[np.ndarray] | None, wanted: list[np.ndarray]) -> bool:
    return found is not None and [(a.dtype, a.shape, a.tobytes()) for a in found] == [
        (b.dtype, b.shape, b.tobytes()) for b in wanted
    ]


def age(path: Path, **ago: float) -> None:
    then = (datetime.now(UTC) - timedelta(**ago)).timestamp()
    os.utime(path, (then, then))


# Shards

DTYPES = st.sampled_from(
    ["float16", "float32", ">f4", "float64", "int8", "uint8", "int64", "bool", "complex64", "M8[s]"]
)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))


LAYOUTS = st.sampled_from([np.asarray, np.transpose, lambda array: array[::-1]])


@given(arrays=st.lists(ARRAYS, max_size=4), layout=LAYOUTS)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, arrays: list[np.ndarray], layout: Callable[..., Any]
) -> None:
    arrays = [layout(array) for array in arrays]
    entry = Store(folder=tmp_path_factory.mktemp("store")).entry(FACTS)
    assert same(entry.write(DIGEST, arrays), arrays)
    assert same(entry.read(DIGEST), arrays)


def test_arrays_are_mapped_aligned_and_read_only(entry: Entry) -> None:
    arrays = [np.arange(3, dtype="int8"), np.ones((2, 5), "complex128"), np.arange(7.0)]
    for array in (*entry.write(DIGEST, arrays), *(entry.read(DIGEST) or [])):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_shard_holds_one_file_open_however_many_arrays_it_has(entry: Entry) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("this system does not list open files")
    before = len(list(open_files.iterdir()))
    kept = entry.write(DIGEST, [np.arange(4)] * 5)
    assert len(kept) == 5
    assert len(list(open_files.iterdir())) == before + 1


def test_nothing_is_read_where_nothing_is(entry: Entry, tmp_path: Path) -> None:
    assert entry.read(DIGEST) is None
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces(entry: Entry) -> None:
    before = entry.write(DIGEST, [np.arange(4)])
    entry.write(DIGEST, [np.arange(4) + 1])
    assert same(entry.read(DIGEST), [np.arange(4) + 1])
    assert same(before, [np.arange(4)])  # who had it open keeps it
    assert files(entry.folder) == sorted([f"{DIGEST}.shard", "facts.json"])


@pytest.mark.parametrize(
    "array",
    [
        np.float32(1).reshape(()),
        np.array(["a", None]),
        np.zeros(2, [("a", "f4")]),
        np.zeros(3, np.dtype("V2")),
    ],
    ids=["no axis", "objects", "fields", "void"],
)
def test_an_array_that_would_not_come_back_is_refused(entry: Entry, array: np.ndarray) -> None:
    with pytest.raises(DataError, match="must have an axis and a dtype of NumPy's own"):
        entry.write(DIGEST, [np.zeros(2), array])
    assert files(entry.folder) == []


def test_bfloat16_is_refused_for_npy_forgets_its_name(entry: Entry) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    with pytest.raises(DataError, match=r"got bfloat16 of shape \(3,\). Convert it, such as"):
        entry.write(DIGEST, [np.zeros(3, bfloat16)])


# Damage

SAMPLE = [np.arange(12, dtype="float32").reshape(4, 3), np.arange(4)]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Entry, bytes]:
    entry = Store(folder=tmp_path_factory.mktemp("good")).entry(FACTS)
    entry.write(DIGEST, SAMPLE)
    return entry, path_of(entry).read_bytes()


def damaged(good: tuple[Entry, bytes], content: bytes) -> None:
    entry, written = good
    assert content != written
    path_of(entry).write_bytes(content)
    assert entry.read(DIGEST) is None
    assert not path_of(entry).exists()
    path_of(entry).write_bytes(written)
    assert same(entry.read(DIGEST), SAMPLE)


@pytest.mark.parametrize("part", range(8))
def test_a_flipped_bit_anywhere_is_found(good: tuple[Entry, bytes], part: int) -> None:
    for place in range(part, len(good[1]), 8):  # each byte, and in it one bit
        flipped = bytearray(good[1])
        flipped[place] ^= 1 << (place * 5 + part) % 8
        damaged(good, bytes(flipped))


@pytest.mark.parametrize("part", range(4))
def test_a_shard_cut_short_anywhere_is_found(good: tuple[Entry, bytes], part: int) -> None:
    for length in range(part, len(good[1]), 4):
        damaged(good, good[1][:length])


@given(extra=st.binary(min_size=1, max_size=100))
def test_a_shard_with_something_behind_it_is_found(good: tuple[Entry, bytes], extra: bytes) -> None:
    damaged(good, good[1] + extra)


@given(content=st.binary(max_size=300))
def test_a_file_of_something_else_is_found(good: tuple[Entry, bytes], content: bytes) -> None:
    damaged(good, content)


def test_what_was_damaged_can_be_written_again(entry: Entry) -> None:
    entry.write(DIGEST, SAMPLE)
    path_of(entry).write_bytes(b"")
    assert entry.read(DIGEST) is None
    assert same(entry.write(DIGEST, SAMPLE), SAMPLE)


# Facts


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": "tinier"},
        {"dtype": "float16"},
        {"cut": {"layer": "stem", "shape": [4, 4, 8]}},
        {"cut": {"layer": "top", "shape": [4, 8, 4]}},
        {"cut": {"layer": "top", "shape": [4, 4, 8], "more": None}},
        {"cut": None},
        {"one more": 0},
    ],
)
def test_another_fact_makes_another_key(entry: Entry, other: dict[str, Any]) -> None:
    entry.write(DIGEST, SAMPLE)
    another = Store(folder=entry.folder).entry({**FACTS, **other})
    assert another.key != entry.key
    assert another.read(DIGEST) is None


@pytest.mark.parametrize("left_out", FACTS)
def test_a_missing_fact_makes_another_key(entry: Entry, left_out: str) -> None:
    fewer = {name: value for name, value in FACTS.items() if name != left_out}
    assert Store(folder=entry.folder).key(fewer) != entry.key


NAMES = st.text("abc", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)


@given(facts=st.dictionaries(NAMES, VALUES, max_size=4), data=st.data())
def test_the_order_of_facts_does_not_matter(facts: dict[str, Any], data: st.DataObject) -> None:
    names = data.draw(st.permutations(list(facts)))
    assert Store(folder="x").key(facts) == Store(folder="x").key(
        {name: facts[name] for name in names}
    )


def test_tuples_and_nested_order_do_not_matter(entry: Entry) -> None:
    cut = {"shape": (4, 4, 8), "layer": "top"}
    assert Store(folder="x").key({**FACTS, "cut": cut}) == entry.key


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros(2), "ndarray is not JSON serializable"),
        ({1, 2}, "set is not JSON serializable"),
        (float("nan"), "not JSON compliant"),
        (b"x", "bytes is not JSON serializable"),
        ({(1, 2): 3}, "keys must be str"),
    ],
)
def test_facts_that_json_cannot_hold_are_refused(tmp_path: Path, bad: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=f"`facts` must be what JSON can hold, got .*{words}"):
        Store(folder=tmp_path).entry({"good": 1, "bad": [bad]})


# Killed, and at the same time

WRITE_FOR_EVER = """
for number in range(10**6):
    entry.write(f"{number % 50:04x}", shard(number % 50))
"""


@pytest.mark.parametrize("seed", range(10))
def test_a_writer_killed_at_any_moment_leaves_only_whole_shards(
    child: Callable[[str], subprocess.Popen[str]], tmp_path: Path, seed: int
) -> None:
    process = child(WRITE_FOR_EVER)
    assert process.stdout.readline() == "ready\n"
    time.sleep(random.Random(seed).uniform(0.005, 0.15))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    entry = Store(folder=tmp_path).entry({"of": "a child"})
    there = {path.stem for path in tmp_path.rglob("*.shard")}
    assert there
    for number in range(50):
        found = entry.read(name(number))
        assert same(found, shard(number)) if name(number) in there else found is None
    for number in range(50):
        assert same(entry.write(name(number), shard(number)), shard(number))


KILLED_BEFORE_ITS_SHARD_IS_WHOLE = """
entry.write("aa", shard(1))
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
entry.write("bb", shard(2))
"""


def test_prune_deletes_what_a_killed_writer_left_once_it_is_old(
    child: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    assert child(KILLED_BEFORE_ITS_SHARD_IS_WHOLE).wait() == -signal.SIGKILL
    kept = Store(folder=tmp_path)
    entry = kept.entry({"of": "a child"})
    (left,) = tmp_path.rglob(".writing-*")
    size = left.stat().st_size
    assert entry.read("bb") is None

    age(left, minutes=50)
    assert kept.prune(older_than_days=1) == 0
    assert left.exists()
    age(left, minutes=70)
    assert kept.prune(older_than_days=1) == size > 0
    assert not left.exists()
    assert same(entry.read("aa"), shard(1))


KILLED_WHILE_PRUNING = """
import shutil
entry.write("aa", shard(1))
shutil.rmtree = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
store.Store(folder=sys.argv[1]).prune(keep_bytes=0)
"""


def test_prune_goes_on_where_a_killed_one_stopped(
    child: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    assert child(KILLED_WHILE_PRUNING).wait() == -signal.SIGKILL
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.*") if path.is_file())
    assert Store(folder=tmp_path).entries() == []
    assert Store(folder=tmp_path).prune(older_than_days=1) == size > 0
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_of_a_killed_writer_is_deleted(tmp_path: Path) -> None:
    (tmp_path / Store(folder=tmp_path).key(FACTS)).mkdir()
    Store(folder=tmp_path).prune(older_than_days=1)
    assert list(tmp_path.iterdir()) == []


WRITE_TWENTY = """
sys.stdin.readline()
for _ in range(3):
    for number in range(20):
        found = entry.write(f"{number:04x}", shard(number))
        assert all(np.array_equal(a, b) for a, b in zip(found, shard(number), strict=True))
"""


def test_two_processes_write_the_same_shards_while_another_reads(
    child: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    writers = [child(WRITE_TWENTY.replace("sys.stdin.readline()", "")) for _ in range(2)]
    entry = Store(folder=tmp_path).entry({"of": "a child"})
    seen = 0
    while any(writer.poll() is None for writer in writers):
        for number in range(20):
            found = entry.read(name(number))
            assert found is None or same(found, shard(number))
            seen += found is not None
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen
    assert all(same(entry.read(name(number)), shard(number)) for number in range(20))
    assert files(tmp_path) == sorted(["facts.json", *(f"{name(n)}.shard" for n in range(20))])


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_pruning_while_others_write_and_read_harms_neither(entry: Entry) -> None:
    kept = Store(folder=entry.folder)
    opened = entry.write("ff", shard(255))
    go, stop = threading.Event(), threading.Event()
    pruned: list[int] = []

    def prune() -> None:
        while go.wait() and not stop.is_set():
            go.clear()
            pruned.append(kept.prune(keep_bytes=0))

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        for number in range(100):
            if number % 3 == 0:  # not oftener: a write gives up in the end
                go.set()
            assert same(entry.write(name(number), shard(number)), shard(number))
            found = entry.read(name(number))
            assert found is None or same(found, shard(number))
            assert {info.key for info in kept.entries()} <= {entry.key}
    finally:
        stop.set()
        go.set()
        thread.join()
    assert sum(map(bool, pruned)) > 1
    assert same(opened, shard(255))
    entry.write("ff", shard(255))
    assert kept.entries()[0].facts == FACTS  # no shard without its facts
    assert not list(entry.folder.rglob(".writing-*"))


def test_a_write_makes_a_pruned_entry_again(entry: Entry) -> None:
    entry.write(DIGEST, SAMPLE)
    Store(folder=entry.folder).prune(key=entry.key)
    assert same(entry.write(DIGEST, SAMPLE), SAMPLE)
    assert [info.facts for info in Store(folder=entry.folder).entries()] == [FACTS]


def test_an_entry_pruned_during_a_write_is_made_again(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def fsync(file: int) -> None:
        real(file)
        calls.append(file)
        if len(calls) == 2:  # of the shard; the first was of its facts
            Store(folder=entry.folder).prune(keep_bytes=0)

    monkeypatch.setattr(os, "fsync", fsync)
    assert same(entry.write(DIGEST, SAMPLE), SAMPLE)
    assert len(calls) == 4
    assert [info.shards for info in Store(folder=entry.folder).entries()] == [1]


# No room, no permission


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_and_what_was_written_before_stays(small_disk: Path) -> None:
    entry = Store(folder=small_disk).entry(FACTS)
    first = [np.arange(20_000, dtype="float32")]
    entry.write("aa", first)
    before = files(small_disk)
    with pytest.raises(
        StoreError, match="Can't write 400.0 kB to .*No space left on device"
    ) as info:
        entry.write("bb", [np.zeros(100_000, "float32")])
    assert info.value.__cause__.errno == errno.ENOSPC
    assert "kB are free on its disk. Make room with tlkit.caching.store.Store" in str(info.value)
    assert files(small_disk) == before
    assert entry.read("bb") is None
    assert same(entry.read("aa"), first)
    with pytest.raises(StoreError, match="there is too little room"):
        check_room(small_disk / "not yet" / "there", 250_000)
    check_room(small_disk / "not yet" / "there", 100_000)


def test_a_disk_too_full_for_the_facts_is_said(small_disk: Path) -> None:
    entry = Store(folder=small_disk).entry({**FACTS, "long": "x" * 250_000})
    with pytest.raises(StoreError, match="No space left on device"):
        entry.write("aa", [np.zeros(5000)])
    assert files(small_disk) == []


NO_LARGE_FILES = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
entry.write("aa", shard(1))
try:
    entry.write("bb", [np.zeros(100_000, "float32")])
except StoreError as error:
    print(error)
"""


def test_a_file_that_may_not_grow_is_said(
    child: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    _, said = child(NO_LARGE_FILES).stdout
    assert said.startswith("Can't write 400.0 kB to ")
    assert "bb.shard': File too large; " in said
    assert "choose another folder." in said
    assert files(tmp_path) == ["aa.shard", "facts.json"]
    assert same(Store(folder=tmp_path).entry({"of": "a child"}).read("aa"), shard(1))


@pytest.mark.parametrize("method", ["fsync", "replace"])
def test_nothing_torn_is_left_by_an_error_of_the_disk(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    entry.write("aa", SAMPLE)
    before = files(entry.folder)
    monkeypatch.setattr(*((os, "fsync") if method == "fsync" else (Path, "replace")), fail)
    with pytest.raises(StoreError, match="bb.shard': No space left on device; .* are free"):
        entry.write("bb", SAMPLE)
    assert files(entry.folder) == before
    assert same(entry.read("aa"), SAMPLE)


def test_an_interrupt_leaves_nothing_torn(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(file: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        entry.write("aa", SAMPLE)
    assert files(entry.folder) == []


READ_ONLY = """
entry.write("aa", shard(1))
entry.write("bb", shard(2))
folder = f"{sys.argv[1]}/{entry.key}"
with open(f"{folder}/bb.shard", "r+b") as file:
    file.truncate(100)
os.chmod(folder, 0o555)
os.chdir(sys.argv[1])
os.mkdir("locked", 0o000)
os.chmod(".", 0o555)
if os.getuid() == 0:
    os.setuid(65534)  # root may do everything
here, locked = store.Store(folder="."), store.Store(folder="locked/inside")
entry = here.entry({"of": "a child"})
assert np.array_equal(entry.read("aa")[0], shard(1)[0])
assert entry.read("bb") is None
assert os.path.exists(f"{entry.key}/bb.shard")
for attempt in (
    lambda: entry.write("cc", shard(3)),
    lambda: here.prune(keep_bytes=0),
    lambda: locked.entry({}).write("cc", shard(3)),
):
    try:
        attempt()
    except StoreError as error:
        print(error)
"""


def test_a_read_only_folder_can_be_read_and_is_said_to_be_read_only(
    child: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    _, write, prune, locked = child(READ_ONLY).stdout
    for said, doing in ((write, "write 26.1 kB to"), (prune, "delete"), (locked, "write 26.1 kB")):
        assert said.startswith(f"Can't {doing} ")
        assert "': Permission denied; " in said
        assert "or choose another folder." in said
    assert {"aa.shard", "bb.shard", "facts.json"} == set(files(tmp_path))


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("something")
    entry = Store(folder=tmp_path / "file").entry(FACTS)
    with pytest.raises(StoreError, match="Can't write 80 bytes to .*: Not a directory"):
        entry.write(DIGEST, SAMPLE)
    with pytest.raises(StoreError, match="Can't read .*: Not a directory"):
        entry.read(DIGEST)


NO_MORE_OPEN_FILES = """
entry.write("aa", shard(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
kept = []
try:
    while True:
        kept.append(entry.read("aa"))
except StoreError as error:
    print(error)
"""


def test_too_many_open_files_are_said_and_not_taken_for_damage(
    child: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    _, said = child(NO_MORE_OPEN_FILES).stdout
    assert "Too many open files" in said
    assert "raise the limit (`ulimit -n`)" in said
    assert files(tmp_path) == ["aa.shard", "facts.json"]


def test_check_room_compares_with_the_free_bytes_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a" / "b"
    asked = []

    def usage(path: Path) -> Any:
        if not path.exists():
            raise FileNotFoundError
        asked.append(path)
        return type("Usage", (), {"free": 2_500_000})()

    monkeypatch.setattr(shutil, "disk_usage", usage)
    check_room(folder, 2_500_000)
    with pytest.raises(StoreError) as info:
        check_room(folder, 3_200_000_000)
    assert set(asked) == {tmp_path}
    assert str(info.value) == (
        f"Can't write 3.2 GB to '{folder}': there is too little room; 2.5 MB are free on its disk. "
        "Make room with tlkit.caching.store.Store(folder=...).prune(...), or choose another folder."
    )


# Entries


@pytest.fixture
def three(tmp_path: Path) -> dict[str, Entry]:
    """Entries last used 1, 10 and 20 days ago."""
    made = {}
    for days, size in ((10, 2), (1, 1), (20, 3)):
        entry = Store(folder=tmp_path).entry({"days": days})
        for number in range(size):
            entry.write(name(number), shard(number))
        age(tmp_path / entry.key / "facts.json", days=days)
        made[f"{days} days"] = entry
    return made


def left(folder: Path) -> list[int]:
    return [info.facts["days"] for info in Store(folder=folder).entries()]


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_entries_say_what_is_there_newest_use_first(
    tmp_path: Path, three: dict[str, Entry]
) -> None:
    found = Store(folder=tmp_path).entries()
    assert [(info.facts["days"], info.shards) for info in found] == [(1, 1), (10, 2), (20, 3)]
    for info in found:
        assert info.key == three[f"{info.facts['days']} days"].key
        assert info.bytes == bytes_in(tmp_path / info.key)
        wanted = datetime.now(UTC) - timedelta(days=info.facts["days"])
        assert abs(info.last_used - wanted) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "use",
    [
        lambda old: Store(folder=old.folder).entry({"days": 20}),
        lambda old: old.read(name(1)),
        lambda old: old.read("ffff"),
    ],
    ids=["entry", "read", "read what is not there"],
)
def test_use_is_noted(tmp_path: Path, three: dict[str, Entry], use: Callable[[Entry], Any]) -> None:
    use(three["20 days"])
    assert left(tmp_path) == [20, 1, 10]


def test_asking_for_a_key_is_no_use(tmp_path: Path, three: dict[str, Entry]) -> None:
    assert Store(folder=tmp_path).key({"days": 20}) == three["20 days"].key
    assert left(tmp_path) == [1, 10, 20]


def test_what_belongs_to_others_is_neither_listed_nor_deleted(
    tmp_path: Path, three: dict[str, Entry]
) -> None:
    key = three["1 days"].key
    for folder in ("photos", "0" * 32, "f" * 32):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cat.shard").write_bytes(b"meow")
    (tmp_path / ("f" * 32) / "facts.json").write_text('{"days": 3}')  # of another key
    (tmp_path / ("e" * 32)).write_text("a file")
    (tmp_path / "notes.txt").write_text(key)
    assert left(tmp_path) == [1, 10, 20]
    Store(folder=tmp_path).prune(keep_bytes=0)
    assert left(tmp_path) == []
    assert files(tmp_path) == ["cat.shard"] * 3 + ["e" * 32, "facts.json", "notes.txt"]


def test_a_store_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    nowhere = Store(folder=str(tmp_path / "nowhere"))
    assert nowhere.folder == tmp_path / "nowhere"
    assert nowhere.entries() == []
    assert nowhere.prune(keep_bytes=0) == 0
    assert not nowhere.folder.exists()


def test_what_vanishes_while_it_is_listed_does_no_harm(
    tmp_path: Path, three: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store(folder=tmp_path)
    (tmp_path / three["1 days"].key / "gone").symlink_to("nowhere")  # listed, and has no size
    listed = kept.entries()
    assert [info.facts["days"] for info in listed] == [1, 10, 20]
    assert kept.prune(older_than_days=15) > 0
    monkeypatch.setattr(Store, "entries", lambda self: listed)  # as another process saw it
    assert kept.prune(older_than_days=15) == 0


def test_prune_by_age(tmp_path: Path, three: dict[str, Entry]) -> None:
    freed = bytes_in(tmp_path / three["20 days"].key) + bytes_in(tmp_path / three["10 days"].key)
    assert Store(folder=tmp_path).prune(older_than_days=9.9) == freed
    assert left(tmp_path) == [1]
    assert files(tmp_path) == ["0000.shard", "facts.json"]


def test_prune_by_key(tmp_path: Path, three: dict[str, Entry]) -> None:
    freed = bytes_in(tmp_path / three["10 days"].key)
    assert Store(folder=tmp_path).prune(key=three["10 days"].key) == freed
    assert left(tmp_path) == [1, 20]


@pytest.mark.parametrize(("spare", "wanted"), [(0, [1, 10]), (-1, [1]), (10**6, [1, 10, 20])])
def test_prune_by_size_keeps_the_newest_that_fit(
    tmp_path: Path, three: dict[str, Entry], spare: int, wanted: list[int]
) -> None:
    room = bytes_in(tmp_path) - bytes_in(tmp_path / three["20 days"].key) + spare
    before = bytes_in(tmp_path)
    freed = Store(folder=tmp_path).prune(keep_bytes=room)
    assert left(tmp_path) == wanted
    assert freed == before - bytes_in(tmp_path)


def test_prune_by_several_settings_deletes_what_any_names(
    tmp_path: Path, three: dict[str, Entry]
) -> None:
    Store(folder=tmp_path).prune(older_than_days=15, key=three["1 days"].key)
    assert left(tmp_path) == [10]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "`prune` must be told what to delete, got nothing. Give older_than_days"),
        ({"older_than_days": 0}, "`older_than_days` must be a number above 0, got 0"),
        ({"keep_bytes": -1}, "`keep_bytes` must be a whole number of at least 0, got -1"),
        ({"key": "nothing like it"}, "`key` must be one of"),
    ],
)
def test_prune_refuses_what_it_cannot_mean(
    tmp_path: Path, three: dict[str, Entry], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Store(folder=tmp_path).prune(**settings)
    assert left(tmp_path) == [1, 10, 20]


def test_prune_names_the_nearest_key(tmp_path: Path, three: dict[str, Entry]) -> None:
    key = three["10 days"].key
    with pytest.raises(ConfigError, match=f"Did you mean '{key}'"):
        Store(folder=tmp_path).prune(key=key[:-2])


# Digest


def test_the_digest_tells_content_dtype_shape_and_order_apart() -> None:
    x = np.arange(6, dtype="int32")
    others = [
        (x,),
        (x + 1,),
        (x.view("float32"),),
        (x.astype(">i4"),),
        (x.byteswap().view(">i4"),),
        (x.reshape(2, 3),),
        (x.reshape(3, 2),),
        (x, x),
        (x[:3], x[3:]),
        (x[::-1],),
        (),
    ]
    found = [store.digest(*arrays) for arrays in others]
    # >i4 twice: the same numbers with the same bytes, reached in two ways
    assert found[3] == found[4]
    assert len(set(found)) == len(others) - 1
    assert all(len(each) == 32 and int(each, 16) for each in found)


@given(array=ARRAYS)
def test_the_digest_does_not_depend_on_the_layout_in_memory(array: np.ndarray) -> None:
    wanted = store.digest(array)
    assert store.digest(np.asfortranarray(array)) == wanted
    assert store.digest(np.repeat(array, 2, axis=0)[::2]) == wanted


def test_the_digest_of_a_large_array_copies_nothing() -> None:
    import tracemalloc

    array = np.zeros((1000, 1000))
    tracemalloc.start()
    store.digest(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes / 10


# Rows


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
    assert same(rows.arrays(), whole)
    anywhere = st.lists(st.integers(0, count - 1), max_size=40) if count else st.just([])
    indices = np.array(data.draw(anywhere), data.draw(st.sampled_from(["int64", "uint8", "int32"])))
    assert same(rows.take(indices), [tensor[indices] for tensor in whole])
    here = data.draw(st.slices(count))
    assert same(rows[here], [tensor[here] for tensor in whole])


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
    assert not Rows([shards[0], entry.write(DIGEST, shards[1])]).in_memory


def test_what_is_taken_is_fresh_and_in_memory(entry: Entry) -> None:
    one = np.arange(4)
    for shards in ([[one]], [entry.write("aa", [one])], [[one], entry.write("bb", [one])]):
        rows = Rows(shards)
        for taken in (rows.take(np.arange(4)), rows[1:3]):
            assert type(taken[0]) is np.ndarray
            taken[0][:] = -1
        assert same(rows[:4], [np.arange(4)])


def test_arrays_copy_only_what_must_be_copied(entry: Entry) -> None:
    one = np.arange(4)
    assert Rows([[one]]).arrays()[0] is one
    (copied,) = Rows([entry.write(DIGEST, [one])]).arrays()
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
