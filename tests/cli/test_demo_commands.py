import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlkit._internal.optional import installed
from tlkit.cli import app

pytestmark = pytest.mark.skipif(not installed("gradio"), reason="Gradio is not installed")


def test_the_files_of_a_space_are_written(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", str(trained), "--write", str(tmp_path / "space"), "--title", 'It\'s "3" {a}']
    assert app.main([*words, "--json"]) == app.DONE
    space = Path(json.loads(capsys.readouterr().out)["space"])
    code = (space / "app.py").read_text("utf-8")
    compile(code, "app.py", "exec")
    assert "examples=0" in code
    assert not (space / "examples").exists()
    assert json.dumps('It\'s "3" {a}') in (space / "README.md").read_text("utf-8")
    assert app.main(words) == app.WRONG_ARGUMENTS
    assert "must be new or empty" in capsys.readouterr().err


def test_a_port_that_is_used_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        words = ["demo", str(trained), "--port", port, "--flags", str(tmp_path / "flagged")]
        assert app.main(words) == app.WRONG_ARGUMENTS
    assert f"`--port` must be a free port of this machine, got {port}" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(trained: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tlkit", "demo", str(trained), "--port", "7977"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "the demo is at http://127.0.0.1:7977/ (Ctrl+C stops it)" in line:
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]
    assert process.returncode == app.DONE
    assert "Traceback" not in rest
