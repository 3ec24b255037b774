"""What TensorFlow prints of itself is left out of the output of commands; all else is not."""

import os
import subprocess
import sys

import pytest

from tlkit.cli import quiet

CODE = """
import os, sys
from tlkit.cli import quiet
with quiet.hide_startup():
    import tensorflow
    print(os.environ["TF_CPP_MIN_LOG_LEVEL"], tensorflow.__spec__.name, *sys.meta_path[:1])
    sys.stderr.write("mine\\n")
assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
"""


def test_importing_tensorflow_prints_one_line_and_all_else_is_shown() -> None:
    environment = {key: value for key, value in os.environ.items() if key[:6] != "TF_CPP"}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == "loading TensorFlow\nmine\n"
    assert done.stdout.startswith("3 tensorflow ")
    assert "_Finder" not in done.stdout


def test_a_terminal_loses_the_line_afterwards(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with quiet._announce_loading():
        assert capfd.readouterr().err == "loading TensorFlow\r"
    assert capfd.readouterr().err == "\x1b[2K"


def test_other_lines_written_meanwhile_are_shown_afterwards(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ZeroDivisionError), quiet._filtered_errors():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are\n")
        os.write(2, b"I0000 00:00:1795955853.267838     496 cudart_stub.cc:31] no drivers\n")
        os.write(2, b"2026-11-29 12:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN\n")
        os.write(2, b"Illegal instruction\n")
        _ = 1 / 0
    assert capfd.readouterr().err == "Illegal instruction\n"


def test_a_user_who_chose_a_level_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    before = list(sys.meta_path)
    with quiet.hide_startup():
        assert sys.meta_path == before
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_nothing_is_left_of_it_where_tensorflow_is_not_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    before = list(sys.meta_path)
    with quiet.hide_startup():
        assert len(sys.meta_path) == len(before) + 1
    assert sys.meta_path == before
    assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
