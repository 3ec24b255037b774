"""A small classifier as an exported file, and servers of it that run in processes of their own."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from tests.samples import skip_without

import tlkit
from tlkit.deployment import Predictor, export, exporter

NAMES = ("cat", "dog & <b>owl</b>", "<script>document.title='run'</script>")


class RunningServer:
    """`tlkit serve` in a process of its own, on a free port."""

    def __init__(self, file: Path, *options: str) -> None:
        words = ["serve", str(file), "--port", "0", "--no-access-log", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tlkit", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        self._errors: list[str] = []
        self._reader = threading.Thread(target=self._errors.extend, args=[self.process.stderr])
        self._reader.start()
        first = self.process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)", first)
        if found is None:
            self.stop()
        assert found is not None, self._errors
        self.url, self.host, self.port = found[0], found[1], int(found[2])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(timeout=30)
        self._reader.join()
        return code

    def errors(self) -> str:
        """Return what a stopped server has written to standard error."""
        return "".join(self._errors)


def read_answer(connection: socket.socket) -> http.client.HTTPResponse:
    """Return the answer that comes next on a connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that knows three classes, whose names are a trap for pages, and "none of these"."""
    skip_without("litert", "fastapi", "httpx", "python_multipart", "uvicorn")
    keras.utils.set_random_seed(3)
    backbone = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3)])
    model = tlkit.build_classifier(
        backbone, 3, input_shape=(20, 24, 3), pixels=(-1, 1), class_names=NAMES
    )
    images = np.random.default_rng(0).integers(0, 256, (40, 20, 24, 3), "uint8")
    tlkit.fit_ood(model, (images, np.arange(40) % 3))
    with pytest.MonkeyPatch.context() as patch:  # to save time: other tests prove exports
        patch.setattr(exporter, "prove", lambda *_, **__: SimpleNamespace(to_dict=dict))
        return export(model, tmp_path_factory.mktemp("served") / "model.tflite", fit="crop").path


@pytest.fixture(scope="session")
def predictor(exported: Path) -> Predictor:
    return Predictor(exported)


@pytest.fixture(scope="session")
def server(exported: Path) -> Iterator[RunningServer]:
    """A server that several tests use."""
    running = RunningServer(exported, "--stop-delay", "0")
    yield running
    running.stop()


@pytest.fixture
def start(exported: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start a server of a test's own, with more options."""
    running: list[RunningServer] = []

    def start_one(*options: str) -> RunningServer:
        running.append(RunningServer(exported, *options))
        return running[-1]

    yield start_one
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
            each.wait()
