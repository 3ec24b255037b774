import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.samples import skip_without

from tlkit.cli import app
from tlkit.deployment import Predictor
from tlkit.errors import ConfigError, EngineError, MissingExtraError
from tlkit.experiments import find_served_file, served_file


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with two exports of its classifier, one of them of an earlier state."""
    folder = tmp_path / "run"
    (folder / "exports").mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"new weights")
    for name, content in (("model.onnx", b"old weights"), ("model.tflite", b"new weights")):
        (folder / "exports" / name).touch()
        facts = {"source_sha256": hashlib.sha256(content).hexdigest()}
        (folder / "exports" / f"{name}.json").write_text(json.dumps(facts))
    monkeypatch.setattr(served_file, "installed", lambda module: True)
    return folder


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run in other processes, which do nothing."""
    ran: list[list[str]] = []

    def note(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, returncode=0, stdout="wrote it\n", stderr="")

    monkeypatch.setattr(subprocess, "run", note)
    return ran


def test_the_export_of_the_classifier_as_it_is_now_serves(
    run: Path, commands: list[list[str]]
) -> None:
    messages: list[object] = []
    found = find_served_file(run, on_message=messages.append)
    assert found == run / "exports" / "model.tflite"
    assert messages == [
        f"{run / 'exports' / 'model.onnx'} belongs to another state of model.keras, and is not used"
    ]
    assert find_served_file(run / "model.keras") == found
    assert commands == []


def test_without_one_it_is_exported_in_another_process(
    run: Path, commands: list[list[str]]
) -> None:
    (run / "model.keras").write_bytes(b"newer weights")
    messages: list[object] = []
    assert find_served_file(run, on_message=messages.append) == run / "exports" / "model.onnx"
    assert [words[3:] for words in commands] == [["tlkit", "export", str(run), "--format", "onnx"]]
    assert messages[-1] == "wrote it"


def test_an_export_whose_runtime_is_missing_does_not_serve(
    run: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_file, "installed", lambda name: name in ("openvino", "keras"))
    assert find_served_file(run) == run / "exports" / "model.xml"
    assert commands[0][-1] == "openvino"
    monkeypatch.setattr(served_file, "installed", lambda name: name == "keras")
    with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[serve,onnx\]'"):
        find_served_file(run)


def test_an_export_that_fails_says_why(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run / "exports")
    for errors, reason in (("a warning\ntlkit: no space left\n", "no space left"), ("", "killed")):
        failed = subprocess.CompletedProcess([], returncode=4, stdout="", stderr=errors)
        monkeypatch.setattr(subprocess, "run", lambda *_, _failed=failed, **__: _failed)
        with pytest.raises(EngineError, match=f"classifier of .*run can't be exported: .*{reason}"):
            find_served_file(run)


def test_what_is_neither_a_run_nor_a_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"`model` must be a run's folder.*has no model.keras"):
        find_served_file(tmp_path)
    pytest.importorskip("fastapi")
    for name, message in (("missing.onnx", "no such file"), ("missing", "no such file")):
        assert app.main(["serve", str(tmp_path / name)]) == app.WRONG_ARGUMENTS
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_exported_once(trained: Path, tmp_path: Path) -> None:
    skip_without("onnx")
    copy = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    file = find_served_file(copy)
    assert Predictor(file).class_names == ("digit 0", "digit 1", "digit 2")
    written = file.stat().st_mtime_ns
    assert find_served_file(copy) == file
    assert file.stat().st_mtime_ns == written
