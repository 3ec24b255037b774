"""A cluster that `ray start` has started is used by its address, or by that of Ray's client."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.distributed.conftest import extract_on_one_machine

import tlkit
from tlkit.distributed import extract, solve_head

_PATIENCE = 60.0  # seconds, for Ray to start


def find_free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [server.getsockname()[1] for server in servers]


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens at port {port}")


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The port of a cluster of two cores that runs on its own, and the port of its Ray client."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    found = find_free_ports(2)
    words = ["start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false"]
    words += [f"--port={found[0]}", f"--ray-client-server-port={found[1]}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", *words, "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "GRPC_ENABLE_FORK_SUPPORT": "0"}
    with (tmp_path_factory.mktemp("ray") / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for port in found:
            wait_for_port(port)
        yield found
    finally:
        process.terminate()
        process.wait(_PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize(("address", "which"), [("127.0.0.1:{}", 0), ("ray://127.0.0.1:{}", 1)])
def test_a_running_cluster_is_used_by_its_address(
    address: str,
    which: int,
    ports: list[int],
    photos: Path,
    classifier: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    _, expected = extract_on_one_machine(classifier, photos)
    cluster = address.format(ports[which])
    found = extract(
        photos / "photos.parquet",
        classifier,
        out=tmp_path / "features",
        cluster=cluster,
        workers=2,
        engine="keras",
        part_rows=9,
    )
    features = np.concatenate([features for features, _ in found.read()])
    np.testing.assert_array_equal(features.view("uint16"), expected.view("uint16"))
    model = tlkit.load(tmp_path / "features" / "_model.keras")
    metrics = solve_head(model, found, solver="ridge", cluster=cluster, seed=0)
    assert metrics["accuracy"] > 0.5
