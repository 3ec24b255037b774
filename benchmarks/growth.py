"""Measure how time and memory of the whole `tlkit train` grow with the number of images.

    python benchmarks/growth.py --counts 1000 10000 20000
    python benchmarks/growth.py --classes 10 100 1000 10000

The images are JPEG files that `journey.py` generates: of 224 pixels and 10 classes, or with
`--classes` of 32 pixels, 20 for each of so many classes and 1,000 at least. Each command begins
with an empty folder of features. Weights are read from `KERAS_HOME`. Prints seconds, peak memory,
and how well a straight line fits.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from journey import generate


def main(arguments: list[str] | None = None) -> None:
    """Measure each number of images in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--classes", type=int, nargs="+")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tlkit-growth")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(train(options.work, *options.one)))
        return
    rows = []
    for count, classes, side in list_sets(options):
        sizes = map(str, (count, classes, side))
        words = [sys.executable, __file__, "--one", *sizes, "--work", str(options.work)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    counts = [row["images"] for row in rows]
    seconds = [row["seconds"] for row in rows]
    slope, start = np.polyfit(counts, seconds, 1)
    fit = np.corrcoef(counts, seconds)[0, 1] ** 2
    print(f"{1000 * slope:.2f} s for 1,000 images, {start:.0f} s before; R2 {fit:.4f}")


def list_sets(options: argparse.Namespace) -> list[tuple[int, int, int]]:
    """Return the numbers of images and classes, and the side of the images."""
    if options.classes:
        return [(max(20 * classes, 1000), classes, 32) for classes in options.classes]
    return [(count, 10, 224) for count in options.counts]


def train(work: Path, count: int, classes: int, side: int) -> dict[str, Any]:
    """Run the command on so many images; return its seconds and its peak memory."""
    images = work / (f"images-{count}" if side == 224 else f"images-{classes}-classes")
    if not images.exists():
        shape = (side * 8 // 7, side)
        generate(images, count, classes=classes, size=shape)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        sized = ["train", str(images), "--image-size", str(side), "--stratify"]
        words = [*sized, "--out", f"{folder}/run", "--json"]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tlkit", *words],
            capture_output=True,
            check=True,
            env={**os.environ, "TLKIT_CACHE": f"{folder}/features"},
        )
        seconds = time.perf_counter() - started
    printed = json.loads(done.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "images": count,
        "classes": classes,
        "seconds": seconds,
        "peak_bytes": peak,
        "accuracy": printed["accuracy"],
        "stages": printed["stages"],
    }


if __name__ == "__main__":
    main()
