"""Parts are distributed to workers; those of workers and machines that are lost run again."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.clusters import find_parent, find_processes
from tests.distributed.conftest import extract_on_one_machine

import tlkit
from tlkit.distributed import dispatch, extract, head, solve_head
from tlkit.distributed.cluster import Devices
from tlkit.distributed.manifest import Part
from tlkit.distributed.shards import Shards
from tlkit.distributed.worker import Worker
from tlkit.errors import ConfigError
from tlkit.models.inspection import head_of
from tlkit.training.linear import Linear

DEVICES = Devices(workers=2, cpus=1, gpus=0)
PARTS = [Part(number=number, file=0, group=0, start=number, stop=number + 1) for number in range(5)]


def answer_with(rounds: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Let rounds finish some parts; return the parts of each round, which grow as they run."""
    asked: list[list[int]] = []

    def run_round(job: Any, parts: list[Part], devices: Devices) -> Iterator[dict[str, Any]]:
        asked.append([part.number for part in parts])
        yield from ({"part": number} for number in rounds[len(asked) - 1])

    monkeypatch.setattr(dispatch, "_run_round", run_round)
    return asked


def run() -> list[int]:
    job: Any = None
    return [report["part"] for report in dispatch._run_here(job, PARTS, DEVICES)]


def test_parts_of_lost_workers_run_in_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_with([[0, 2, 3], [], [4], [], [], [1]], monkeypatch)
    assert run() == [0, 2, 3, 4, 1]
    assert asked == [[0, 1, 2, 3, 4], [1, 4], [1, 4], [1], [1], [1]]


def test_workers_that_always_die_end_the_extraction(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with([[0, 2], [], [], []], monkeypatch)
    with pytest.raises(ConfigError, match="they died 3 times in a row, and 3 of 5 parts are miss"):
        run()


class SlowWorker(Worker):
    """A worker that is busy for most of the time."""

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        time.sleep(0.5)
        return super().__call__(batch)


class Nodes:
    """A cluster of a head without cores, and two nodes of one core."""

    def __init__(self) -> None:
        self._cluster = pytest.importorskip("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        nodes = [self._cluster.add_node(num_cpus=1) for _ in range(2)]
        self._nodes = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
        self.address: str = self._cluster.address

    def has(self, worker: int) -> bool:
        return find_parent(worker) in self._nodes

    def lose(self, worker: int) -> None:
        """Kill all processes of the node of a worker."""
        self._cluster.remove_node(self._nodes[find_parent(worker)], allow_graceful=False)

    def stop(self) -> None:
        for node in reversed(self._cluster.list_all_nodes()):
            self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.shutdown()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    if not Path("/proc/self/stat").exists():
        pytest.skip("it finds processes in /proc")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    found = Nodes()
    yield found
    found.stop()


def test_a_node_that_is_lost_changes_nothing(
    nodes: Nodes,
    photos: Path,
    classifier: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pickle = pytest.importorskip("ray.cloudpickle")
    _, expected = extract_on_one_machine(classifier, photos)
    lost: list[int] = []
    run = dispatch.run

    def lose_node(*given: Any) -> Iterator[dict[str, Any]]:
        for report in run(*given):
            if not lost:  # the worker computes its next part already
                lost.append(int(report["worker"].rpartition(":")[2]))
                nodes.lose(lost[0])
            yield report

    monkeypatch.setattr(dispatch, "run", lose_node)
    monkeypatch.setattr(dispatch, "Worker", SlowWorker)
    pickle.register_pickle_by_value(sys.modules[__name__])
    try:
        found = extract(
            photos / "photos.parquet",
            classifier,
            out=tmp_path / "features",
            cluster=nodes.address,
            engine="keras",
            part_rows=9,
        )
    finally:
        pickle.unregister_pickle_by_value(sys.modules[__name__])
    assert lost
    assert found.num_computed == 60
    features = np.concatenate([features for features, _ in found.read()])
    np.testing.assert_array_equal(features.view("uint16"), expected.view("uint16"))
    assert not [path.name for path in (tmp_path / "features").iterdir() if path.name[0] == "."]
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_head_is_solved_though_a_node_is_lost(
    nodes: Nodes,
    photos: Path,
    classifier: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    how: dict[str, Any] = {"cluster": nodes.address}
    extract(photos / "photos.parquet", classifier, out=tmp_path, engine="keras", part_rows=9, **how)
    whole, again = (tlkit.load(tmp_path / "_model.keras") for _ in range(2))
    solve_head(whole, tmp_path, seed=0, **how)
    solve = head.solve

    def lose_node(shards: Shards, *given: Any, **settings: Any) -> Linear:
        assert shards.counts.sum() == 60  # all processes have read their files
        nodes.lose(next(worker for worker in find_processes(b"ray::Shard") if nodes.has(worker)))
        return solve(shards, *given, **settings)

    monkeypatch.setattr(head, "solve", lose_node)
    solve_head(again, tmp_path, seed=0, **how)
    np.testing.assert_allclose(head_of(again).kernel, head_of(whole).kernel, rtol=1e-4, atol=1e-5)
