"""Kill an extraction on a Ray cluster ten times, and compare its features with one machine's.

    python benchmarks/cluster.py

It generates 20,000 JPEGs of 96 x 96 pixels, extracts their features on one machine as a training
does, and then by `tlkit extract` in a cluster of this machine, with two workers of one core. Five
times it kills a worker, and five times the command itself, at moments drawn from `--seed`; after
the latter it starts the same command again. Ray's processes of a killed command are left to end by
themselves. Without kills it measures the memory and the processor time of the workers for 2,000,
6,000 and 20,000 images. Other programs may run meanwhile: no time of a clock is measured.

It needs the extra `ray`, and Linux for its folder /proc. The starter's weights are inside the
package. Finished parts are kept in `--work`; the tables go into docs/explanation/cluster.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cluster_kills
import cluster_tables
import numpy as np
import pages
from journey import generate

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "cluster.md"
COUNT, CLASSES, SIDE = 20_000, 10, 96
NAMES = tuple(f"class {number}" for number in range(CLASSES))
ROWS = 250  # images in a part
RUNS = ((2_000, ROWS), (6_000, ROWS), (COUNT, ROWS))
HOW: dict[str, Any] = {"workers": 2, "engine": "litert"}
SOLVERS = ("ridge", "lbfgs")

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Measure every part, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/cluster.json"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tlkit-cluster")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="of measuring memory and time")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        print(json.dumps(SIDES[options.side](options)))
        return
    rows = measure_all(options)
    pages.publish(PAGE, options.out, rows, cluster_tables.render(rows))


def measure_all(options: argparse.Namespace) -> Row:
    """Return what every part measured."""
    work, own = options.work, partial(run_side, options)
    pages.kept(work / "inputs.json", partial(own, "inputs"))
    pages.kept(work / "reference.json", partial(own, "reference"))
    kills = pages.kept(work / "kills.json", lambda: kill_and_go_on(options))
    compared = pages.kept(work / "compared.json", partial(own, "compare"))
    measured = [
        pages.kept(
            work / f"measured-{count}-{rows}-{number}.json",
            partial(own, "measure", "--run", str(count), str(rows)),
        )
        for number in range(options.rounds)
        for count, rows in RUNS
    ]
    return {"kills": kills, "compared": compared, "measured": measured}


def run_side(options: argparse.Namespace, side: str, *more: str) -> Row:
    """Return what a function of `SIDES` returns in a process of its own."""
    words = [sys.executable, __file__, "--work", str(options.work), "--side", side, *more]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def manifest_of(work: Path, count: int, rows: int) -> Path:
    return work / f"photos-{count}-{rows}.parquet"


# A part of a manifest ends where its row group ends, so row groups set the size of parts.
def make_inputs(options: argparse.Namespace) -> Row:
    """Write the images, a manifest for each run, and the classifier."""
    import pyarrow
    import pyarrow.parquet

    import tlkit

    generate(options.work / "images", COUNT, classes=CLASSES, size=(SIDE, SIDE))
    labels = [NAMES[number % CLASSES] for number in range(COUNT)]
    paths = [f"images/{label}/{number}.jpg" for number, label in enumerate(labels)]
    for count, rows in RUNS:
        table = pyarrow.table({"path": paths[:count], "label": labels[:count]})
        file = manifest_of(options.work, count, rows)
        pyarrow.parquet.write_table(table, file, row_group_size=rows)
    shape = {"input_shape": (SIDE, SIDE, 3), "class_names": NAMES, "seed": 0}
    model = tlkit.build_classifier("mobilenet_v2", CLASSES, weights="starter", **shape)
    tlkit.save(model, options.work / "model.keras")
    return {"images": COUNT}


def make_reference(options: argparse.Namespace) -> Row:
    """Extract features and solve heads as a training on one machine does."""
    import tlkit

    model = tlkit.load(options.work / "model.keras")
    with tempfile.TemporaryDirectory() as folder:
        manifest = manifest_of(options.work, COUNT, ROWS)
        data, cache, features = extract_here(manifest, model, Path(folder), side=SIDE)
        heads = [solve_on_one_machine(options.work, solver, data, cache) for solver in SOLVERS]
    names, arrays = np.array(NAMES), {name: each for head in heads for name, each in head.items()}
    arrays |= {"digests": data.images.digests, "labels": names[data.labels], "features": features}
    np.savez(options.work / "reference.npz", **arrays)
    return {"images": len(data), "features": features.shape[1]}


def extract_here(
    manifest: Path, model: Any, folder: Path, *, side: int
) -> tuple[Any, Any, np.ndarray]:
    """Return the images, the cache in a folder, and the features, as a training has them."""
    import tlkit
    from tlkit import sources
    from tlkit.caching import partition
    from tlkit.caching.extraction import Extraction
    from tlkit.models import freezing
    from tlkit.models.inspection import features_of

    data = sources.from_manifest(manifest, image_size=side)
    last = features_of(model).layers[-1].name
    plan = freezing.plan(tlkit.models.backbone_of(model), freezing.everything)
    freezing.apply(plan)
    cut = partition.find_cut(model, plan, data.images[:1], after=last)
    cache = tlkit.Cache(engine=HOW["engine"], dtype="float16", folder=folder, cut=last)
    extraction = Extraction(model, [cut], cache)
    dataset = extraction.extract(cut, "train", (data.images, data.labels), batch_size=32)
    [features] = dataset.take(np.arange(len(data)), 0)[0]
    return data, cache, np.asarray(features)


def solve_on_one_machine(work: Path, solver: Any, data: Any, cache: Any) -> dict[str, np.ndarray]:
    """Return the weights of a solved head."""
    import tlkit

    model = tlkit.load(work / "model.keras")
    phase = tlkit.SolvedHead(solver=solver)
    tlkit.train_phase(model, phase, data, seed=0, cache=cache, verbose=False)
    return get_head(model, solver)


def get_head(model: Any, solver: str) -> dict[str, np.ndarray]:
    from tlkit.models.inspection import head_of

    head = head_of(model)
    return {f"{solver} kernel": np.asarray(head.kernel), f"{solver} bias": np.asarray(head.bias)}


def kill_and_go_on(options: argparse.Namespace) -> Row:
    """Run the command while it is killed; return what was killed."""
    out, manifest = options.work / "killed", manifest_of(options.work, COUNT, ROWS)
    shutil.rmtree(out, ignore_errors=True)
    words = ["-m", "tlkit", "extract", manifest, options.work / "model.keras", "--out", out]
    words += [word for name, value in HOW.items() for word in (f"--{name}", value)]
    return cluster_kills.run(
        [sys.executable, *map(str, words)],
        out,
        num_parts=COUNT // ROWS,
        seed=options.seed,
        log=options.work / "kills.log",
    )


def compare(options: argparse.Namespace) -> Row:
    """Compare features and solved heads with those of one machine."""
    import tlkit
    from tlkit.distributed import open_features, solve_head
    from tlkit.distributed.feature_set import read_file

    features = open_features(options.work / "killed")
    read = [read_file(file) for file in features.locations]
    found = {
        "features": np.concatenate([each for each, _ in read]),
        "labels": np.concatenate([images.labels for _, images in read]),
        "digests": np.concatenate([images.digests for _, images in read]),
    }
    heads: dict[str, np.ndarray] = {}
    for solver in SOLVERS:
        model = tlkit.load(options.work / "model.keras")
        solve_head(model, features, solver=solver, workers=HOW["workers"], seed=0)
        heads |= get_head(model, solver)
    with np.load(options.work / "reference.npz") as expected:
        return {
            "images": len(found["features"]),
            "different": {
                name: count_different(each, expected[name]) for name, each in found.items()
            },
            "heads": {
                name: {
                    "largest": float(np.abs(expected[name]).max()),
                    "difference": float(np.abs(each - expected[name]).max()),
                }
                for name, each in heads.items()
            },
        }


def count_different(found: np.ndarray, expected: np.ndarray) -> int:
    """Return how many images differ, in a single bit at least."""
    if found.shape != expected.shape or found.dtype.itemsize != expected.dtype.itemsize:
        raise SystemExit(f"{found.dtype}{found.shape}, expected {expected.dtype}{expected.shape}")
    rows = (np.ascontiguousarray(each).view("uint8") for each in (found, expected))
    one, other = (each.reshape(len(found), -1) for each in rows)
    return int((one != other).any(axis=1).sum())


def measure(options: argparse.Namespace) -> Row:
    """Extract in this process; return the report of each part, with its worker's use so far."""
    import tlkit
    from tlkit.distributed import dispatch, extract

    run: Callable[..., Iterator[Row]] = dispatch.run
    reports: list[Row] = []

    def log(*given: Any) -> Iterator[Row]:
        for report in run(*given):
            use = read_use(int(report["worker"].rpartition(":")[2]))
            names = ("worker", "images", "cpu_seconds", "bytes")
            reports.append({**{name: report[name] for name in names}, **use})
            yield report

    dispatch.run = log
    count, rows = options.run
    with tempfile.TemporaryDirectory(dir=options.work) as out:
        model = tlkit.load(options.work / "model.keras")
        found = extract(manifest_of(options.work, count, rows), model, out=out, **HOW)
    if found.num_computed != count:
        raise SystemExit(f"{found.num_computed} of {count} images were computed")
    return {"count": count, "rows": rows, "reports": reports, "driver": read_use(os.getpid())}


def read_use(pid: int) -> dict[str, float]:
    """Return the largest memory of a process, and its processor time; nothing if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    kibibytes = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return {
        "peak_bytes": 1024 * int(kibibytes[1] if kibibytes else 0),
        "process_seconds": cluster_kills.find_processor_time(pid),
    }


SIDES = {
    "inputs": make_inputs,
    "reference": make_reference,
    "compare": compare,
    "measure": measure,
}


if __name__ == "__main__":
    main()
