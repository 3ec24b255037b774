import os
import signal
from pathlib import Path

import pytest
from tests.samples import run_until_killed

from tlkit._internal import locks

HOLD = """
import sys, time
from pathlib import Path
from tlkit._internal import locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with run_until_killed(HOLD, path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert locks.is_held(path)
        with pytest.raises(locks.LockHeldError), locks.hold(path):
            pass
        assert locks.is_held(path)  # the refused one has released nothing
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert not locks.is_held(path)
    with locks.hold(path):
        assert path.exists()
    assert not path.exists()


def test_the_lock_is_released_on_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks.hold(tmp_path / "lock"):
        _ = 1 / 0
    assert not locks.is_held(tmp_path / "lock")


def test_a_lock_in_a_folder_that_does_not_exist_is_held_by_nobody(tmp_path: Path) -> None:
    assert not locks.is_held(tmp_path / "missing" / "lock")
