import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.deployment.images import encode, make_picture

from tlkit.cli import app
from tlkit.deployment import Predictor, write_container
from tlkit.errors import ConfigError

httpx = pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def folder(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("container") / "image"
    assert app.main(["serve", str(exported), "--write", str(target)]) == app.DONE
    return target


def test_the_folder_has_all_that_the_server_needs_and_no_more(folder: Path) -> None:
    assert {each.name for each in folder.iterdir()} == {
        ".dockerignore",
        "Dockerfile",
        "model.tflite",
        "model.tflite.json",
        "requirements.txt",
        "tlkit",
    }
    lines = (folder / "requirements.txt").read_text().splitlines()
    names = {re.split("[=<>]", line)[0] for line in lines}
    assert names == {
        *("ai-edge-litert", "cyclopts", "fastapi", "numpy", "pillow", "python-multipart"),
        "uvicorn",
    }
    assert f"numpy=={np.__version__}" in lines
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    assert size < 3_000_000
    assert not list(folder.rglob("__pycache__"))


def test_the_image_runs_as_a_user_without_rights_and_is_checked(folder: Path) -> None:
    lines = (folder / "Dockerfile").read_text().splitlines()
    steps = [line.split(maxsplit=1) for line in lines if re.match("[A-Z]+ ", line)]
    names = [name for name, _ in steps]
    assert names[0] == "FROM"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert steps[0][1] == f"python:{version}-slim"
    assert ["USER", "10001"] in steps
    assert names.index("USER") > names.index("RUN")
    assert names.index("HEALTHCHECK") < names.index("CMD") == len(names) - 1
    assert "$" not in "".join(lines)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_its_command_serves_without_keras(folder: Path, predictor: Predictor) -> None:
    text = (folder / "Dockerfile").read_text()
    words = json.loads(re.findall(r"^CMD (.*)$", text, flags=re.M)[0])
    assert words[:3] == ["python", "-m", "tlkit"]
    port = str(_free_port())
    words[-1] = port
    blocked = ("imagehash", "joblib", "keras", "matplotlib", "scipy", "sklearn", "tensorflow")
    code = f"""
import runpy, sys
for name in {(*blocked, "jinja2", "pooch", "safetensors", "wrapt")!r}:
    sys.modules[name] = None
sys.argv = {["tlkit", *words[3:]]!r}
import tlkit
assert tlkit.__file__.startswith({str(folder)!r}), tlkit.__file__
runpy.run_module("tlkit", run_name="__main__")
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment)
    check = re.findall(r"HEALTHCHECK .* CMD (\[.*\])$", text, flags=re.M)[0]
    healthy = [word.replace("8000", port) for word in json.loads(check)]
    healthy[0] = sys.executable
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
                break
            time.sleep(0.1)
        assert subprocess.run(healthy, check=False).returncode == 0
        content = encode(make_picture())
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", files={"a": ("a.png", content)})
        found = answer.json()["predictions"][0]["classes"][0]
        expected = predictor.predict(content)[0]
        assert found["class"] == expected.label
        assert found["probability"] == pytest.approx(expected.probability, abs=1e-6)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert subprocess.run(healthy, stderr=subprocess.DEVNULL, check=False).returncode == 1
    finally:
        process.kill()


def test_a_folder_that_holds_something_is_left_alone(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match="`folder` must be a new or empty folder, got"):
        write_container(exported, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_a_format_that_needs_tensorflow_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = Predictor(exported).metadata
    values = {**about.to_dict(), "format": "saved_model"}
    monkeypatch.setattr("tlkit.deployment.metadata.parse", lambda text, path: type(about)(**values))
    with pytest.raises(ConfigError, match=r"`path` must be a .onnx, .tflite or .xml file"):
        write_container(exported, tmp_path / "image")
    assert not (tmp_path / "image").exists()
