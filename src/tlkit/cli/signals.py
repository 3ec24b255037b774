"""Signals that end the command as Ctrl-C does, so that it cleans up and keeps what was done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_NAMES = ("SIGTERM", "SIGHUP")  # a system's shutdown, a closed terminal; Windows has only the first


@dataclass
class Stopped:
    """What stopped the command.

    Attributes:
        signal: The signal's number.
    """

    signal: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect: 130 after Ctrl-C, 143 after SIGTERM.

        Examples:
            >>> Stopped(signal.SIGTERM).exit_code
            143
        """
        return 128 + self.signal


@contextmanager
def stop_cleanly(stopped: Stopped) -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt inside the block.

    A signal that is ignored, as under nohup, stays ignored. Threads but the main one get none.

    Args:
        stopped: Is told which signal it was.
    """

    def stop(number: int, frame: Any) -> None:
        stopped.signal = number
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
