"""Measure which changes of where and how a training runs leave its weights the same to the bit.

    python benchmarks/determinism.py

It trains `recipes.best` on scikit-learn's digits with the starter's weights, each time in a process
of its own with one thing changed, and compares all weights with those of the first training. The
table is written into docs/explanation/determinism.md.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "determinism.md"
BEGIN, END = "<!-- benchmarks/determinism.py -->", "<!-- end -->"
VARIANTS: dict[str, dict[str, Any]] = {
    "the same again, in the same process": {"times": 2},
    "another process": {},
    "another process, with another `PYTHONHASHSEED`": {"env": {"PYTHONHASHSEED": "7"}},
    "`verbose=True`": {"verbose": True},
    "features stored on disk, and found there": {"folder": True, "times": 2},
    "a checkpoint after every epoch": {"checkpoint": True},
    "`Cache(rewrites=False)`": {"cache": {"rewrites": False}},
    "no cache: `cache=None`": {"cache": None},
    "`Cache(dtype='float16')`": {"cache": {"dtype": "float16"}},
    "`Cache(engine='litert')`": {"cache": {"engine": "litert"}},
    "`Cache(engine='openvino')`": {"cache": {"engine": "openvino"}},
    "`Cache(engine='onnxruntime')`": {"cache": {"engine": "onnxruntime"}},
    "one thread (`TF_NUM_INTRAOP_THREADS=1`)": {"env": {"TF_NUM_INTRAOP_THREADS": "1"}},
    "four threads": {"env": {"TF_NUM_INTRAOP_THREADS": "4"}},
    "without oneDNN (`TF_ENABLE_ONEDNN_OPTS=0`)": {"env": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
    "another seed": {"seed": 1},
}


def train(settings: dict[str, Any], out: Path) -> None:
    """Train as one variant says, and save all weights."""
    import tempfile

    import tlkit
    from tlkit import datasets, recipes, sources
    from tlkit.models import freezing

    digits = datasets.digits().train
    images = np.repeat((np.asarray(digits.images) * 15).astype("uint8")[:400, :, :, None], 3, -1)
    data = sources.from_arrays(
        images, np.asarray(digits.labels)[:400], class_names=[str(each) for each in range(10)]
    )
    cache: Any = settings.get("cache", {})
    with tempfile.TemporaryDirectory() as folder:
        if cache is not None:
            stored = {"folder": Path(folder) / "features"} if settings.get("folder") else {}
            cache = tlkit.Cache(**cache, **stored)
        for time in range(settings.get("times", 1)):
            trained = recipes.best(epochs=3, freeze=freezing.first_fraction(0.5)).train(
                data,
                weights="starter",
                image_size=32,
                seed=settings.get("seed", 0),
                cache=cache,
                checkpoint=Path(folder) / f"state-{time}" if settings.get("checkpoint") else None,
                verbose=settings.get("verbose", False),
            )
    np.savez(out, *trained.model.get_weights())


def compare(path: Path, reference: Path) -> dict[str, float]:
    """Return how many weights differ, and by how much, relative to the largest of the tensor."""
    with np.load(path) as found, np.load(reference) as wanted:
        pairs = [(found[name], wanted[name]) for name in wanted.files]
    differing = sum(int((one != other).sum()) for one, other in pairs)
    largest = max(
        float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-30)) for one, other in pairs
    )
    return {
        "differing": differing,
        "weights": sum(each.size for each, _ in pairs),
        "largest": largest,
    }


def main() -> None:
    """Train all variants and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("determinism-work"))
    parser.add_argument("--train", help="one variant as JSON; used by this script itself")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.train is not None:
        train(json.loads(options.train), options.out)
        return
    options.work.mkdir(exist_ok=True)
    reference = options.work / "reference.npz"
    rows = []
    for number, (name, settings) in enumerate({"": {}, **VARIANTS}.items()):
        out = options.work / f"{number}.npz" if name else reference
        if not out.exists():
            words = [sys.executable, __file__, "--train", json.dumps(settings), "--out", str(out)]
            done = subprocess.run(words, env={**os.environ, **settings.get("env", {})}, check=False)
            if done.returncode:
                continue
        if name:
            found = compare(out, reference)
            print(name, found, flush=True)
            largest = f"{found['largest']:.0e}" if found["differing"] else "0"
            rows.append(f"| {name} | {'no' if found['differing'] else 'yes'} | {largest} |")
            write(rows)


def write(rows: list[str]) -> None:
    """Write the table into the page."""
    head = "| what differs from the first training | same bits | largest difference of a weight |"
    table = "\n".join([head, "|---|---|---|", *rows])
    before, rest = PAGE.read_text("utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
