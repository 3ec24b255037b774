import socket
from typing import Any

import pytest

from tlkit.distributed.cluster import Devices, connect, plan_devices
from tlkit.errors import ConfigError


def node(cores: float, gpus: float = 0, *, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cores, "GPU": gpus}}


@pytest.mark.parametrize(
    ("nodes", "workers", "expected"),
    [
        ([node(2)], None, (1, 2, 0)),
        ([node(2)], 2, (2, 1, 0)),
        ([node(1), node(1)], None, (2, 1, 0)),
        ([node(8), node(16), node(64, alive=False)], None, (3, 8, 0)),
        ([node(8), node(16)], 6, (6, 4, 0)),
        ([node(0), node(8)], None, (1, 8, 0)),
        ([node(16, 4), node(64)], None, (4, 4, 1)),
        ([node(16, 4)], 2, (2, 4, 1)),
    ],
)
def test_a_device_has_a_worker(
    nodes: list[dict[str, Any]], workers: int | None, expected: tuple[int, int, int]
) -> None:
    found = plan_devices(nodes, workers)
    assert (found.workers, found.cpus, found.gpus) == expected


def test_more_workers_than_cores_are_refused() -> None:
    with pytest.raises(ConfigError, match="`workers` must be at most the cluster's 2 cores, got 3"):
        plan_devices([node(2)], 3)
    with pytest.raises(ConfigError, match="at most the cluster's 1 GPUs, got 2"):
        plan_devices([node(8, 1)], 2)


def test_a_worker_uses_its_own_cores_only() -> None:
    devices = Devices(workers=2, cpus=3, gpus=0)
    assert devices.variables["LOKY_MAX_CPU_COUNT"] == "3"
    assert str(devices) == "2 workers with 3 cores each"


def test_local_is_a_new_cluster_though_another_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    services = pytest.importorskip("ray._private.services")
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    found = []

    def init(address: str | None = None, **settings: Any) -> None:
        found.append((services.canonicalize_bootstrap_address(address), settings["num_cpus"] > 0))

    monkeypatch.setattr(ray, "init", init)
    with connect("local"):
        pass
    assert found == [(None, True)]  # None starts a cluster


def test_an_address_at_which_nothing_listens_is_refused_at_once() -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    message = f"running Ray cluster, such as .*, got 'ray://127.0.0.1:{port}': Connection refused"
    with pytest.raises(ConfigError, match=message), connect(f"ray://127.0.0.1:{port}"):
        pass


def test_a_cluster_that_may_want_a_token_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)

    def init(address: str, **settings: Any) -> None:
        raise ConnectionError("failure:\nTraceback (most recent call last):\nRuntimeError: timeout")

    monkeypatch.setattr(ray, "init", init)
    message = r"got 'ray://[\d.:]*': RuntimeError: timeout. If .* set RAY_AUTH_MODE=token here too"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"ray://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=message), connect(address):
            pass
