import os
import signal
import time

import pytest

from tlkit.cli import signals


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_stops_the_block_as_ctrl_c_does(name: str, code: int) -> None:
    number, stopped = getattr(signal, name), signals.Stopped()
    before = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored
    try:
        with pytest.raises(KeyboardInterrupt), signals.stop_cleanly(stopped):
            os.kill(os.getpid(), number)
            time.sleep(10)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert stopped.exit_code == code


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.stop_cleanly(signals.Stopped()):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_another_signal_the_code_is_that_of_ctrl_c() -> None:
    assert signals.Stopped().exit_code == 130
