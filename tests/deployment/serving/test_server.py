"""How a server starts and stops: nothing that it has accepted is lost."""

import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.deployment.images import encode, make_picture
from tests.deployment.serving.conftest import RunningServer, read_answer

from tlkit.cli import app
from tlkit.deployment import create_app, serve
from tlkit.deployment.serving import server as serving_server
from tlkit.errors import ConfigError

httpx = pytest.importorskip("httpx")

PNG = encode(make_picture())
NUM_CLIENTS = 6  # of each kind


class Clients:
    """Clients that ask without a pause, until an answer says that the connection ends with it."""

    def __init__(self, server: RunningServer) -> None:
        self.url = f"{server.url}/predict"
        self.answered: list[float] = []
        self.lost: list[str] = []
        self.ended = 0
        kinds = [self._reconnect] * NUM_CLIENTS + [self._keep_alive] * NUM_CLIENTS
        self.threads = [threading.Thread(target=kind) for kind in kinds]
        for thread in self.threads:
            thread.start()

    def _ask(self, client: "httpx.Client") -> bool:
        """Return whether to ask again; note a request that was lost."""
        try:
            answer = client.post(self.url, files={"image": ("a.png", PNG)})
        except httpx.HTTPError as error:
            self.lost.append(repr(error))
            return False
        if answer.status_code != 200:
            self.lost.append(answer.text)
        self.answered.append(time.monotonic())
        is_last = answer.headers.get("connection") == "close"
        self.ended += is_last
        return not is_last

    def _reconnect(self) -> None:
        again = True
        while again:
            with httpx.Client(timeout=20) as client:
                again = self._ask(client)

    def _keep_alive(self) -> None:
        with httpx.Client(timeout=20) as client:
            while self._ask(client):
                pass

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)


def test_no_request_is_lost_at_sigterm(start: Callable[..., RunningServer]) -> None:
    server = start("--stop-delay", "1")
    clients = Clients(server)
    while len(clients.answered) < 5 * NUM_CLIENTS:
        time.sleep(0.05)
    before = len(clients.answered)
    assert server.stop(signal.SIGTERM) == 0
    clients.join()
    assert clients.lost == []
    assert clients.ended == 2 * NUM_CLIENTS
    assert len(clients.answered) - before >= 2 * NUM_CLIENTS
    assert server.process.stdout is not None
    last = server.process.stdout.read()
    found = re.fullmatch(r"stopped after ([\d,]+) requests with \1 images\n", last)
    assert found is not None, last
    assert int(found[1].replace(",", "")) == len(clients.answered)


def test_a_request_whose_half_has_arrived_is_answered(start: Callable[..., RunningServer]) -> None:
    server = start("--stop-delay", "0.8")
    with socket.create_connection((server.host, server.port), timeout=20) as connection:
        head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
        connection.sendall(f"{head}content-length: {len(PNG)}\r\n\r\n".encode() + PNG[:50])
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        ready = httpx.get(f"{server.url}/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "stopping"})
        assert httpx.get(f"{server.url}/health").status_code == 200
        time.sleep(1.2)
        with pytest.raises(ConnectionError):
            socket.create_connection((server.host, server.port), timeout=5)
        connection.sendall(PNG[50:])
        answer = read_answer(connection)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert server.wait() == 0


def test_an_answer_does_not_wait_for_the_client() -> None:
    """Without TCP_NODELAY its second part waits 40 ms for an acknowledgement."""
    with (
        serving_server._listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=5),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_or_none_is_named(
    server: RunningServer, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", str(exported), "--port", str(server.port)]
    assert app.main(words) == app.WRONG_ARGUMENTS
    assert "`--port` must be one that this process can listen on" in capsys.readouterr().err
    served = create_app(exported)
    with pytest.raises(ConfigError, match=r"`port` must be.*got 70000: a port is at most 65535"):
        serve(served, port=70_000)
    with pytest.raises(ConfigError, match=r"can listen on at 'nowhere\.invalid'"):
        serve(served, host="nowhere.invalid")
    with pytest.raises(ConfigError, match="`stop_delay` must be a number of at least 0, got -1"):
        serve(served, stop_delay=-1)
