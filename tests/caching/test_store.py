import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit._internal.files import check_room
from tlkit.caching import entries, store
from tlkit.caching.cache import Cache
from tlkit.caching.feature_folder import FeatureFolder
from tlkit.caching.store import Entry, Store
from tlkit.errors import ConfigError, StoreError

FACTS = {"backbone": "tiny", "dtype": "float32", "cut": {"layer": "top", "shape": [4, 4, 8]}}
SAMPLE = [np.arange(12, dtype="float32").reshape(4, 3), np.arange(4)]
Start = Callable[[str], subprocess.Popen[str]]

# A child process has no Keras: the store needs none, and the child begins at once.
CHILD = f"""
import sys, types, os, resource, signal
tlkit = types.ModuleType("tlkit")
tlkit.__path__ = [{str(Path(store.__file__).parent.parent)!r}]
sys.modules["tlkit"] = tlkit
import numpy as np
from tlkit.caching import entries, store
from tlkit.caching.cache import Cache
from tlkit.caching.feature_folder import FeatureFolder
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
    return f"{number:04x}"


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start(code: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD + code, str(tmp_path)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Store(folder=tmp_path).entry(FACTS)


def childs(folder: Path) -> Entry:
    return Store(folder=folder).entry({"of": "a child"})


def files(folder: Path) -> list[str]:
    """The names of all files; of a shard without that of its checksum, which must be there."""
    names = sorted(path.name for path in folder.rglob("*") if path.is_file())
    checksums = {each for each in names if each.endswith(".sha256")}
    assert {f"{Path(each).stem}.safetensors" for each in checksums} <= set(names)
    return [each for each in names if each not in checksums]


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def same(found: list[np.ndarray] | None, wanted: list[np.ndarray]) -> bool:
    return found is not None and [(a.dtype, a.shape, a.tobytes()) for a in found] == [
        (b.dtype, b.shape, b.tobytes()) for b in wanted
    ]


def age(path: Path, **ago: float) -> None:
    then = (datetime.now(UTC) - timedelta(**ago)).timestamp()
    os.utime(path, (then, then))


# Reading and writing


def test_what_is_written_is_read(entry: Entry, tmp_path: Path) -> None:
    assert entry.read("aa") is None
    assert list(tmp_path.iterdir()) == []
    assert same(entry.write("aa", SAMPLE), SAMPLE)
    assert same(entry.read("aa"), SAMPLE)


def test_writing_again_replaces_and_whoever_has_it_mapped_keeps_it(entry: Entry) -> None:
    before = entry.write("aa", [np.arange(4)])
    entry.write("aa", [np.arange(4) + 1])
    assert same(entry.read("aa"), [np.arange(4) + 1])
    assert same(before, [np.arange(4)])
    assert files(entry.folder) == ["aa.safetensors", "facts.json"]


@pytest.mark.parametrize("suffix", [".safetensors", ".sha256"])
def test_a_damaged_shard_is_deleted_and_can_be_written_again(entry: Entry, suffix: str) -> None:
    entry.write("aa", SAMPLE)
    path = entry.folder / entry.key / f"aa{suffix}"
    path.write_bytes(path.read_bytes()[:-1])
    assert entry.read("aa") is None
    assert not path.with_suffix(".safetensors").exists()
    assert same(entry.write("aa", SAMPLE), SAMPLE)
    assert same(entry.read("aa"), SAMPLE)


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
    entry.write("aa", SAMPLE)
    another = Store(folder=entry.folder).entry({**FACTS, **other})
    assert another.key != entry.key
    assert another.read("aa") is None


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
    other = {name: facts[name] for name in names}
    assert Store(folder="x").key(facts) == Store(folder="x").key(other)


def test_tuples_and_nested_order_do_not_matter(entry: Entry) -> None:
    cut = {"shape": (4, 4, 8), "layer": "top"}
    assert Store(folder="x").key({**FACTS, "cut": cut}) == entry.key


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros(2), "ndarray is not JSON serializable"),
        (float("nan"), "not JSON compliant"),
        ({(1, 2): 3}, "keys must be str"),
    ],
)
def test_facts_that_json_cannot_hold_are_refused(tmp_path: Path, bad: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=f"`facts` must be values that JSON can hold.*{words}"):
        Store(folder=tmp_path).entry({"good": 1, "bad": [bad]})


# Killed processes, and several at a time

WRITE_FOR_EVER = """
for number in range(10**6):
    entry.write(f"{number % 50:04x}", shard(number % 50))
"""


@pytest.mark.parametrize("seed", range(10))
def test_a_writer_killed_at_any_moment_leaves_only_whole_shards(
    child: Start, tmp_path: Path, seed: int
) -> None:
    process = child(WRITE_FOR_EVER)
    assert process.stdout.readline() == "ready\n"
    time.sleep(random.Random(seed).uniform(0.01, 0.2))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    entry = childs(tmp_path)
    there = {path.stem for path in tmp_path.rglob("[!.]*.safetensors")}
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


@pytest.mark.parametrize("clean", ["prune", "use"])
def test_what_a_killed_writer_left_is_deleted_by_the_next_user(
    child: Start, tmp_path: Path, clean: str
) -> None:
    assert child(KILLED_BEFORE_ITS_SHARD_IS_WHOLE).wait() == -signal.SIGKILL
    kept, entry = Store(folder=tmp_path), childs(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.rglob(".writing-*"))
    assert size > 0
    assert entry.read("bb") is None
    if clean == "prune":
        assert kept.prune(older_than_days=1) == size
    else:
        FeatureFolder(Cache(folder=tmp_path))
    assert not list(tmp_path.rglob(".writing-*"))
    assert same(entry.read("aa"), shard(1))


STOPPED_WHILE_WRITING = """
os.fsync = lambda file: print("writing", flush=True) or os.kill(os.getpid(), signal.SIGSTOP)
entry.write("aa", shard(1))
"""


def test_what_a_living_writer_is_writing_stays(child: Start, tmp_path: Path) -> None:
    process = child(STOPPED_WHILE_WRITING)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "writing\n"]
    assert Store(folder=tmp_path).prune(older_than_days=1) == 0
    assert list(tmp_path.rglob(".writing-*"))


KILLED_WHILE_PRUNING = """
import shutil
entry.write("aa", shard(1))
shutil.rmtree = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
store.Store(folder=sys.argv[1]).prune(keep_bytes=0)
"""


def test_prune_goes_on_where_a_killed_one_stopped(child: Start, tmp_path: Path) -> None:
    assert child(KILLED_WHILE_PRUNING).wait() == -signal.SIGKILL
    size = bytes_in(tmp_path)
    (tmp_path / Store(folder=tmp_path).key(FACTS)).mkdir()  # of a writer killed at its start
    assert Store(folder=tmp_path).entries() == []
    assert Store(folder=tmp_path).prune(older_than_days=1) == size > 0
    assert list(tmp_path.iterdir()) == []


WRITE_TWENTY = """
for _ in range(3):
    for number in range(20):
        found = entry.write(f"{number:04x}", shard(number))
        assert all(np.array_equal(a, b) for a, b in zip(found, shard(number), strict=True))
"""


def test_two_processes_write_the_same_shards_while_another_reads(
    child: Start, tmp_path: Path
) -> None:
    writers = [child(WRITE_TWENTY) for _ in range(2)]
    entry = childs(tmp_path)
    seen = 0
    while any(writer.poll() is None for writer in writers):
        for number in range(20):
            found = entry.read(name(number))
            assert found is None or same(found, shard(number))
            seen += found is not None
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen
    assert all(same(entry.read(name(number)), shard(number)) for number in range(20))
    assert files(tmp_path) == [
        *(f"{name(number)}.safetensors" for number in range(20)),
        "facts.json",
    ]


USE_WITH_OTHERS = """
from tlkit._internal import files
from tlkit.caching.lookup import Lookup, join
if sys.argv[2] == "nfs":  # a server's answer is lost, and its client asks again
    real = files.Path.replace
    def replace(path, target):
        real(path, target)
        return real(path, target)
    files.Path.replace = replace
kept, seed = store.Store(folder=sys.argv[1]), int(sys.argv[3])
for number in range(12):
    lookup = Lookup(kept, {"of": "four"})
    rows = np.random.default_rng(seed * 100 + number).permutation(400)[:64].astype("uint64")
    digests = np.stack([rows, rows * 7], axis=1)
    values = rows.astype("float32")[:, None] * np.ones(50, "float32")
    found = lookup.find(digests)
    missing = np.flatnonzero(found.places < 0)
    if len(missing):
        lookup.write(digests[missing], [values[missing]])
        if sys.argv[2] == "prune" and number % 3 == 0:
            kept.prune(keep_bytes=0)
        found = join(found, lookup.find(digests[missing]))
    assert (found.places >= 0).all(), "a row was lost that this process has written"
    whole = np.concatenate([shard[0] for shard in found.shards])
    assert np.array_equal(whole[found.places], values)
    if sys.argv[2] == "prune":
        kept.prune(keep_bytes=20_000)
print("done")
"""


@pytest.mark.parametrize("how", ["keep", "prune", "nfs"])
def test_four_processes_use_one_entry_at_once(tmp_path: Path, how: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD + USE_WITH_OTHERS, str(tmp_path), how, str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    assert [process.communicate()[0] for process in processes] == ["ready\ndone\n"] * 4
    left = [path for path in tmp_path.rglob(".*") if path.name[:9] in (".writing-", ".pruned-")]
    assert not left
    if how != "prune":
        [info] = Store(folder=tmp_path).entries()
        assert info.images >= 400 * 0.9


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESTALE, errno.EEXIST, errno.ENOTEMPTY])
def test_a_rename_that_another_process_makes_fail_is_tried_again(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real, calls = Path.replace, itertools.count()

    def replace(path: Path, target: Path) -> Path:
        if next(calls) < 3:
            raise OSError(code, os.strerror(code))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    assert same(entry.write("aa", SAMPLE), SAMPLE)
    calls = itertools.count()
    assert Store(folder=entry.folder).prune(keep_bytes=0) == 0  # another process is at it
    assert Store(folder=entry.folder).prune(keep_bytes=0) == 0
    assert Store(folder=entry.folder).prune(keep_bytes=0) == 0
    assert Store(folder=entry.folder).prune(keep_bytes=0) > 0
    assert list(entry.folder.iterdir()) == []


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_different_numbers_written_at_once_are_never_mixed(entry: Entry) -> None:
    versions = [[np.full(1000, number)] for number in range(2)]

    def write(number: int) -> None:
        for _ in range(15):
            found = entry.write("aa", versions[number])
            assert any(same(found, each) for each in versions)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = entry.read("aa")
        assert found is None or any(same(found, each) for each in versions)
    assert same(entry.write("aa", versions[0]), versions[0])


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


def prune_at(moment: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prune a store when a file or folder is synced for this time."""
    real, calls = os.fsync, itertools.count(1)

    def fsync(file: int) -> None:
        real(file)
        if next(calls) == moment:
            Store(folder=folder).prune(keep_bytes=0)
            assert not list(folder.rglob("[!.]*.safetensors"))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_shard_pruned_as_soon_as_it_is_written_is_returned(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune_at(6, entry.folder, monkeypatch)  # the shard's folder, after its rename
    assert same(entry.write("aa", SAMPLE), SAMPLE)
    assert entry.read("aa") is None


@pytest.mark.parametrize("moment", range(1, 6))  # facts, checksum, itself; each with its folder
def test_an_entry_pruned_during_a_write_is_written_again(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    prune_at(moment, entry.folder, monkeypatch)
    assert same(entry.write("aa", SAMPLE), SAMPLE)
    assert [info.shards for info in Store(folder=entry.folder).entries()] == [1]
    assert [info.facts for info in Store(folder=entry.folder).entries()] == [FACTS]


# No room, no permission


def test_a_full_disk_is_named_and_earlier_shards_stay(small_disk: Path) -> None:
    entry = Store(folder=small_disk).entry(FACTS)
    first = [np.arange(20_000, dtype="float32")]
    entry.write("aa", first)
    before = files(small_disk)
    with pytest.raises(
        StoreError, match="Can't write 400.0 kB to .*No space left on device"
    ) as info:
        entry.write("bb", [np.zeros(100_000, "float32")])
    assert "kB are free on its disk. Make room with tlkit.caching.store.Store" in str(info.value)
    assert files(small_disk) == before
    assert entry.read("bb") is None
    assert same(entry.read("aa"), first)
    with pytest.raises(StoreError, match="there is not enough space"):
        check_room(small_disk / "not yet" / "there", 250_000)
    check_room(small_disk / "not yet" / "there", 100_000)


def test_a_disk_too_full_for_the_facts_is_named(small_disk: Path) -> None:
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


def test_a_file_that_may_not_grow_is_named(child: Start, tmp_path: Path) -> None:
    _, message = child(NO_LARGE_FILES).stdout
    assert message.startswith("Can't write 400.0 kB to ")
    assert "bb.safetensors': " in message
    assert "File too large" in message
    assert "choose another folder." in message
    assert files(tmp_path) == ["aa.safetensors", "facts.json"]
    assert same(childs(tmp_path).read("aa"), shard(1))


@pytest.mark.parametrize("method", ["fsync", "replace"])
def test_nothing_torn_is_left_by_an_error_of_the_disk(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    entry.write("aa", SAMPLE)
    before = files(entry.folder)
    monkeypatch.setattr(*((os, "fsync") if method == "fsync" else (Path, "replace")), fail)
    with pytest.raises(StoreError, match="bb.safetensors': No space left on device; .* are free"):
        entry.write("bb", SAMPLE)
    assert files(entry.folder) == before
    assert same(entry.read("aa"), SAMPLE)


READ_ONLY = """
entry.write("aa", shard(1))
entry.write("bb", shard(2))
folder = f"{sys.argv[1]}/{entry.key}"
with open(f"{folder}/bb.safetensors", "r+b") as file:
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
assert os.path.exists(f"{entry.key}/bb.safetensors")
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


def test_a_read_only_folder_can_be_read_and_a_change_of_it_is_an_error(
    child: Start, tmp_path: Path
) -> None:
    _, *messages = child(READ_ONLY).stdout
    actions = ("write 26.1 kB to", "delete", "write 26.1 kB")
    for message, action in zip(messages, actions, strict=True):
        assert message.startswith(f"Can't {action} ")
        assert "Permission denied" in message
        assert "or choose another folder." in message
    assert {"aa.safetensors", "bb.safetensors", "facts.json"} == set(files(tmp_path))


def test_a_file_where_the_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("something")
    entry = Store(folder=tmp_path / "file").entry(FACTS)
    with pytest.raises(StoreError, match="Can't write 80 bytes to .*: Not a directory"):
        entry.write("aa", SAMPLE)
    with pytest.raises(StoreError, match="Can't read .*: Not a directory"):
        entry.read("aa")


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


def test_too_many_open_files_are_named_and_not_taken_for_damage(
    child: Start, tmp_path: Path
) -> None:
    _, message = child(NO_MORE_OPEN_FILES).stdout
    assert "Too many open files" in message
    assert "raise the limit (`ulimit -n`)" in message
    assert files(tmp_path) == ["aa.safetensors", "facts.json"]


# Entries


@pytest.fixture
def three(tmp_path: Path) -> dict[int, Entry]:
    """Entries last used 1, 10 and 20 days ago, by the days."""
    made = {}
    for days, size in ((10, 2), (1, 1), (20, 3)):
        made[days] = Store(folder=tmp_path).entry({"days": days})
        for number in range(size):
            made[days].write(name(number), shard(number))
        for path in (tmp_path / made[days].key).iterdir():
            age(path, days=days)
    return made


def left(folder: Path) -> list[int]:
    return [info.facts["days"] for info in Store(folder=folder).entries()]


def test_entries_tell_their_size_and_last_use_newest_first(
    tmp_path: Path, three: dict[int, Entry]
) -> None:
    found = Store(folder=tmp_path).entries()
    assert [(info.facts["days"], info.shards) for info in found] == [(1, 1), (10, 2), (20, 3)]
    for info in found:
        assert info.key == three[info.facts["days"]].key
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
    ids=["entry", "read", "read what does not exist"],
)
def test_use_is_noted(tmp_path: Path, three: dict[int, Entry], use: Callable[[Entry], Any]) -> None:
    assert Store(folder=tmp_path).key({"days": 20}) == three[20].key  # is no use
    assert left(tmp_path) == [1, 10, 20]
    use(three[20])
    assert left(tmp_path) == [20, 1, 10]


def test_what_belongs_to_others_is_neither_listed_nor_deleted(
    tmp_path: Path, three: dict[int, Entry]
) -> None:
    for folder in ("photos", "0" * 32, "f" * 32):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cat.safetensors").write_bytes(b"meow")
    (tmp_path / ("f" * 32) / "facts.json").write_text('{"days": 3}')  # of another key
    (tmp_path / ("e" * 32)).write_text("a file")
    (tmp_path / "notes.txt").write_text(three[1].key)
    assert left(tmp_path) == [1, 10, 20]
    Store(folder=tmp_path).prune(keep_bytes=0)
    assert left(tmp_path) == []
    assert files(tmp_path) == ["cat.safetensors"] * 3 + ["e" * 32, "facts.json", "notes.txt"]


def test_a_store_that_does_not_exist_has_no_entries(tmp_path: Path) -> None:
    nowhere = Store(folder=str(tmp_path / "nowhere"))
    assert nowhere.folder == tmp_path / "nowhere"
    assert nowhere.entries() == []
    assert nowhere.prune(keep_bytes=0) == 0
    assert not nowhere.folder.exists()


def test_what_vanishes_while_it_is_listed_does_no_harm(
    tmp_path: Path, three: dict[int, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store(folder=tmp_path)
    (tmp_path / three[1].key / "gone").symlink_to("nowhere")  # has a name, and no size
    listed = kept.entries()
    assert [info.facts["days"] for info in listed] == [1, 10, 20]
    assert kept.prune(older_than_days=15) > 0
    monkeypatch.setattr(Store, "entries", lambda self: listed)  # as another process saw it
    assert kept.prune(older_than_days=15) == 0


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (lambda room, key: {"older_than_days": 9.9}, [1]),
        (lambda room, key: {"key": key(10)}, [1, 20]),
        (lambda room, key: {"keep_bytes": room(1, 10)}, [1, 10]),
        (lambda room, key: {"keep_bytes": room(1)}, [1]),
        (lambda room, key: {"keep_bytes": room(1, 10, 20)}, [1, 10, 20]),
        (lambda room, key: {"older_than_days": 15, "key": key(1)}, [10]),
    ],
    ids=["age", "key", "size", "smaller size", "enough room", "several"],
)
def test_prune_deletes_what_any_setting_names_and_tells_how_much(
    tmp_path: Path, three: dict[int, Entry], settings: Callable[..., Any], wanted: list[int]
) -> None:
    sizes = {days: bytes_in(tmp_path / entry.key) for days, entry in three.items()}
    chosen = settings(lambda *days: sum(sizes[day] for day in days), lambda day: three[day].key)
    before = bytes_in(tmp_path)
    assert Store(folder=tmp_path).prune(**chosen) == before - bytes_in(tmp_path)
    assert left(tmp_path) == wanted
    assert bytes_in(tmp_path) == sum(sizes[days] for days in wanted)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "`prune` must have something to delete, got no argument. Give older_than_days"),
        ({"older_than_days": 0}, "`older_than_days` must be a number above 0, got 0"),
        ({"keep_bytes": -1}, "`keep_bytes` must be a whole number of at least 0, got -1"),
        ({"key": "nothing like it"}, "`key` must be one of"),
    ],
)
def test_prune_refuses_a_wrong_setting(
    tmp_path: Path, three: dict[int, Entry], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Store(folder=tmp_path).prune(**settings)
    assert left(tmp_path) == [1, 10, 20]
    key = three[10].key
    with pytest.raises(ConfigError, match=f"Did you mean '{key}'"):
        Store(folder=tmp_path).prune(key=key[:-2])


# Digest


def test_the_digest_tells_content_dtype_shape_and_order_apart() -> None:
    x = np.arange(6, dtype="int32")
    different = [
        (x,),
        (x + 1,),
        (x.view("float32"),),
        (x.astype(">i4"),),
        (x.reshape(2, 3),),
        (x.reshape(3, 2),),
        (x, x),
        (x[:3], x[3:]),
        (x[::-1],),
        (),
    ]
    found = [entries.digest(*arrays) for arrays in different]
    assert len(set(found)) == len(different)
    assert all(len(each) == 32 and int(each, 16) for each in found)


def test_the_digest_does_not_depend_on_the_layout_in_memory() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    wanted = entries.digest(array)
    assert entries.digest(np.asfortranarray(array)) == wanted
    assert entries.digest(np.repeat(array, 2, axis=0)[::2]) == wanted


def test_the_digest_of_a_large_array_copies_nothing() -> None:
    array = np.zeros((1000, 1000))
    tracemalloc.start()
    entries.digest(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes / 10
