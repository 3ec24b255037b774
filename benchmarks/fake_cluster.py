"""Lose nodes of a simulated Ray cluster during an extraction, and compare it with one machine's.

    python benchmarks/fake_cluster.py

`ray.cluster_utils.Cluster` runs several nodes of Ray on this machine: a head without cores, and
nodes of one core each. They extract the features of 2,000 generated JPEGs of 96 x 96 pixels in
parts of 50. Each part also waits for a second, so that nodes are busy though they share the cores
of this machine. When a quarter of the parts is finished, something happens to a busy node.

It needs the extra `ray`, and Linux for its folder /proc. The starter's weights are inside the
package. Run nothing else meanwhile. Finished events are kept in `--work`, and `--events` measures
only some of them; the table goes into docs/explanation/cluster.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pages
from cluster import extract_here
from cluster_kills import Command
from fake_cluster_events import (
    EVENTS,
    HAPPEN,
    Nodes,
    add_node,
    count_parts,
    count_repeated,
    read_attempts,
)
from journey import generate

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "cluster.md"
COUNT, CLASSES, SIDE, ROWS = 2_000, 10, 96, 50
PARTS = COUNT // ROWS
NODES = 4  # of one core each, besides the head
MOMENT = PARTS // 4  # finished parts
WAIT = 1.0  # seconds of each part

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Measure each event, and write the table when all are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/fake_cluster.json"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tlkit-fake")
    parser.add_argument("--events", nargs="*", choices=EVENTS, default=list(EVENTS))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--event", help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        print(json.dumps(SIDES[options.side](options)))
        return
    files = {name: options.work / f"event-{name}.json" for name in EVENTS}
    pages.kept(options.work / "inputs.json", partial(run_side, options, "inputs"))
    for name in options.events:
        pages.kept(files[name], partial(run_side, options, "event", "--event", name))
    if all(file.is_file() for file in files.values()):
        rows = [json.loads(file.read_text()) for file in files.values()]
        pages.publish(PAGE, options.out, rows, render(rows), mark="lost nodes")


def words_of(options: argparse.Namespace, side: str, *more: str) -> list[str]:
    return [sys.executable, __file__, "--work", str(options.work), "--side", side, *more]


def run_side(options: argparse.Namespace, side: str, *more: str) -> Row:
    """Return what a function of `SIDES` returns in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "RAY_USAGE_STATS_ENABLED": "0"}
    words = words_of(options, side, *more)
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def make_inputs(options: argparse.Namespace) -> Row:
    """Write the images, the manifest and the classifier, and the features of one machine."""
    import pyarrow
    import pyarrow.parquet

    import tlkit

    names = [f"class {number}" for number in range(CLASSES)]
    generate(options.work / "images", COUNT, classes=CLASSES, size=(SIDE, SIDE))
    labels = [names[number % CLASSES] for number in range(COUNT)]
    paths = [f"images/{label}/{number}.jpg" for number, label in enumerate(labels)]
    table = pyarrow.table({"path": paths, "label": labels})
    pyarrow.parquet.write_table(table, options.work / "photos.parquet")
    shape = {"input_shape": (SIDE, SIDE, 3), "class_names": names, "seed": 0}
    model = tlkit.build_classifier("mobilenet_v2", CLASSES, weights="starter", **shape)
    tlkit.save(model, options.work / "model.keras")
    with tempfile.TemporaryDirectory() as folder:
        manifest = options.work / "photos.parquet"
        _, _, expected = extract_here(manifest, model, Path(folder), side=SIDE)
        np.save(options.work / "expected.npy", expected)
    return {"images": COUNT}


def measure_event(options: argparse.Namespace) -> Row:
    """Extract on a new cluster while something happens; return what every node did."""
    from ray.cluster_utils import Cluster

    work, name = options.work, options.event
    log, out = work / f"{name}.log", work / f"out-{name}"
    shutil.rmtree(out, ignore_errors=True)
    for file in (log, work / f"{name}.parts"):
        file.unlink(missing_ok=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes: Nodes = {}
        for _ in range(NODES):
            add_node(cluster, nodes)
        started = time.monotonic()
        words = words_of(options, "drive", "--event", name, "--address", cluster.address)
        command = Command(words, out, log)
        command.wait_until(lambda: len(command.find_parts()) >= MOMENT)
        again = HAPPEN[name](cluster, nodes, command, work / f"{name}.parts")
        command.finish()
        seconds = time.monotonic() - started
        again()
        attempts = read_attempts(work / f"{name}.parts")
    finally:
        cluster.shutdown()
    return {
        "event": name,
        "seconds": seconds,
        "failures": command.num_failures,
        "nodes": [count_parts(attempts, raylet) for raylet in nodes],
        "repeated": count_repeated(attempts),
        "rewritten": command.count_rewritten(),
        "temporary": sum(path.name.startswith(".") for path in out.iterdir()),
        **run_side(options, "compare", "--event", name),
    }


def drive(options: argparse.Namespace) -> Row:
    """Extract on the cluster, by workers that write a log."""
    import tlkit
    from tlkit.distributed import dispatch, extract

    dispatch.Worker = make_worker(dispatch.Worker, options.work / f"{options.event}.parts")
    found = extract(
        options.work / "photos.parquet",
        tlkit.load(options.work / "model.keras"),
        out=options.work / f"out-{options.event}",
        cluster=options.address,
        engine="litert",
        part_rows=ROWS,
    )
    return {"computed": found.num_computed}


def make_worker(base: Any, file: Path) -> Any:
    """Return a class of workers that log the start and the end of each part."""
    wait = WAIT

    class Logged(base):  # type: ignore[misc]
        number = 0

        def _report(self, part: Any) -> Row:
            self.number += 1
            about = {"part": part.number, "worker": os.getpid(), "number": self.number}
            self.log({**about, "raylet": os.getppid()})
            time.sleep(wait)
            report: Row = super()._report(part)
            self.log({**about, "computed": report["computed"]})
            return report

        def log(self, row: Row) -> None:
            with file.open("a") as opened:
                opened.write(json.dumps(row) + "\n")

    return Logged


def compare(options: argparse.Namespace) -> Row:
    """Compare features with those of one machine."""
    from tlkit.distributed import open_features

    read = [features for features, _ in open_features(options.work / f"out-{options.event}").read()]
    found, expected = np.concatenate(read), np.load(options.work / "expected.npy")
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        raise SystemExit(f"{found.dtype}{found.shape}, expected {expected.dtype}{expected.shape}")
    different = (found.view("uint16") != expected.view("uint16")).any(axis=1)
    return {"parts": len(read), "images": len(found), "different": int(different.sum())}


def render(rows: Sequence[Row]) -> str:
    """Return the table."""
    from tlkit._internal import system

    lines = [
        f"Measured on {system.count_cores()} cores of this processor: {system.processor()}.",
        "",
        "| what happens | seconds | parts of each node | parts started again | written again | "
        f"left over | of {COUNT:,} features, differ |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        nodes = ", ".join(map(str, row["nodes"]))
        lines.append(
            f"| {EVENTS[row['event']]} | {row['seconds']:.0f} | {nodes} | {row['repeated']} | "
            f"{row['rewritten']} | {row['temporary']} | {row['different']} |"
        )
    return "\n".join([*lines, ""])


SIDES = {
    "inputs": make_inputs,
    "event": measure_event,
    "drive": drive,
    "compare": compare,
}


if __name__ == "__main__":
    main()
