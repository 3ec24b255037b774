"""Measure how time and memory of the whole `tlkit train` grow with the number of images.

    python benchmarks/growth.py --counts 1000 10000 20000

The images are JPEG files of 224 pixels that `journey.py` generates, of 10 classes; each command
begins with an empty folder of features. Weights are read from `KERAS_HOME`. Prints seconds, peak
memory, and how well a straight line fits.
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

SIZE = "224"


def main(arguments: list[str] | None = None) -> None:
    """Measure each number of images in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tlkit-growth")
    options = parser.parse_args(arguments)
    if options.count:
        print(json.dumps(train(options.work, options.count)))
        return
    rows = []
    for count in options.counts:
        words = [sys.executable, __file__, "--count", str(count), "--work", str(options.work)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    counts = [row["images"] for row in rows]
    seconds = [row["seconds"] for row in rows]
    slope, start = np.polyfit(counts, seconds, 1)
    fit = np.corrcoef(counts, seconds)[0, 1] ** 2
    print(f"{1000 * slope:.2f} s for 1,000 images, {start:.0f} s before; R2 {fit:.4f}")


def train(work: Path, count: int) -> dict[str, Any]:
    """Run the command on so many images; return its seconds and its peak memory."""
    images = work / f"images-{count}"
    if not images.exists():
        generate(images, count)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        words = ["train", str(images), "--image-size", SIZE, "--out", f"{folder}/run", "--json"]
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
    return {"images": count, "seconds": seconds, "peak_bytes": peak, "stages": printed["stages"]}


if __name__ == "__main__":
    main()
