"""What dead processes left is removed, and nothing that a living one uses: by real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tlkit._internal import locks, temporaries
from tlkit._internal.temporaries import FEATURES, WRITING

CHILD = """
import sys, time
from pathlib import Path
from tlkit._internal import files, temporaries
folder = Path(sys.argv[1])
class Owner: pass
owner = Owner()
made = temporaries.make_folder(folder, owner, prefix=temporaries.FEATURES)
(made / "features").write_bytes(bytes(1000))
with files.replace_atomically(folder / "run") as run:
    run.mkdir()
    (run / "model.keras").write_bytes(bytes(100))
    (folder / ".writing-an-older-version").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""
Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def kinds(folder: Path) -> list[str]:
    names = [path.name for path in folder.iterdir()]
    return sorted(prefix for name in names for prefix in (FEATURES, WRITING) if prefix in name)


def rename(folder: Path, *, machine: str = "", boot: str = "", space: str = "") -> None:
    """Let the temporary paths in a folder belong to another machine, boot or container."""
    for path in [*folder.glob(f"{FEATURES}*"), *folder.glob(f"{WRITING}*-*-*-*")]:
        prefix, *own, pid, ticks, rest = path.name.removeprefix(".").split("-")
        changed = [new or old for new, old in zip((machine, boot, space), own, strict=True)]
        path.rename(path.with_name("." + "-".join([prefix, *changed, pid, ticks, rest])))


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(
    start: Start, tmp_path: Path
) -> None:
    process = start()
    assert temporaries.remove_leftovers(tmp_path) == 0
    assert kinds(tmp_path) == [FEATURES, WRITING, WRITING]
    process.send_signal(signal.SIGSTOP)  # it lives
    assert temporaries.remove_leftovers(tmp_path) == 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "mine.txt").write_text("mine")
    assert temporaries.remove_leftovers(tmp_path) == 1100
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".writing-an-older-version",
        "mine.txt",
    ]


def test_the_next_to_write_into_a_folder_removes_leftovers(start: Start, tmp_path: Path) -> None:
    process = start()
    process.kill()
    process.wait()
    temporaries._visited.discard(tmp_path)
    with temporaries.temporary_folder(tmp_path) as made:
        assert kinds(tmp_path) == [WRITING, WRITING]
        assert made.stat().st_mode & 0o777 == 0o700
    assert kinds(tmp_path) == [WRITING]


def test_a_process_that_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    code = CHILD.replace("time.sleep(60)", "raise SystemExit(3)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, text=True)
    assert done.returncode == 3
    assert kinds(tmp_path) == [WRITING]


def test_what_a_reused_process_number_left_is_removed(start: Start, tmp_path: Path) -> None:
    start()
    for path in tmp_path.glob(f"{FEATURES}*"):
        *first, ticks, rest = path.name.split("-")
        path.rename(path.with_name("-".join([*first, str(int(ticks) - 1), rest])))
    assert temporaries.remove_leftovers(tmp_path) == 1000
    assert kinds(tmp_path) == [WRITING, WRITING]


@pytest.mark.parametrize(
    ("other", "days", "left"),
    [
        ({"machine": "0" * 8, "boot": "0" * 8}, 0, [FEATURES, WRITING]),
        ({"machine": "0" * 8, "boot": "0" * 8}, 2, [FEATURES]),  # of another machine
        ({"boot": "0" * 8}, 0, []),  # this one was booted since
        ({"space": "0" * 8}, 0, [WRITING]),  # the lock of features ended with the process
        ({"space": "0" * 8}, 2, []),
    ],
)
def test_what_others_may_use_stays(
    start: Start, tmp_path: Path, other: dict[str, str], days: int, left: list[str]
) -> None:
    process = start()
    process.kill()
    process.wait()
    (tmp_path / ".writing-an-older-version").unlink()
    rename(tmp_path, **other)
    for path in tmp_path.rglob("*"):
        os.utime(path, (time.time(), time.time() - days * 86_400))
    temporaries.remove_leftovers(tmp_path)
    assert kinds(tmp_path) == left


def test_the_features_of_another_container_stay_while_it_lives(
    start: Start, tmp_path: Path
) -> None:
    start()
    rename(tmp_path, space="0" * 8)
    temporaries.remove_leftovers(tmp_path)
    assert kinds(tmp_path) == [FEATURES, WRITING, WRITING]


def test_features_without_locks_stay_where_their_process_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "is_held", lambda path: False)
    made = temporaries.make_folder(tmp_path, owner := type("Owner", (), {})(), prefix=FEATURES)
    assert list(made.iterdir()) == []
    rename(tmp_path, space="0" * 8)
    temporaries.remove_leftovers(tmp_path)
    assert kinds(tmp_path) == [FEATURES]
    del owner


def test_a_folder_goes_with_its_owner_or_when_the_process_ends_early(tmp_path: Path) -> None:
    class Owner:
        pass

    first, second = Owner(), Owner()
    made = [temporaries.make_folder(tmp_path, each, prefix=FEATURES) for each in (first, second)]
    file = temporaries.reserve(tmp_path)
    file.write_text("half")
    del first
    assert [path.exists() for path in (*made, file)] == [False, True, True]
    child = os.fork()
    if not child:  # a forked process removes nothing of its parent
        temporaries.remove_own()
        os._exit(0)
    os.waitpid(child, 0)
    assert [path.exists() for path in (*made, file)] == [False, True, True]
    temporaries.remove_own()
    assert list(tmp_path.iterdir()) == []
    del second
