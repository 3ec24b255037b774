"""Kill a worker, then the driver of an extraction at random moments, and compare with one machine.

Each trial starts `tlkit.distributed.extract` in a process of its own, on a local Ray cluster of two
workers with a core each; kills one of the workers and then the driver with SIGKILL, each at a
random moment after the first part was written; starts the extraction again, and compares the
features with those of one process, bit for bit: `python -m tools.cluster_kills`.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

_MARK = "TLKIT_TRIAL"
_DRIVER = """
import sys, tlkit
from tlkit.distributed import extract
manifest, out, engine, rows = sys.argv[1:]
found = extract(manifest, manifest.replace("photos.parquet", "model.keras"), out=out, workers=2,
                engine=engine, part_rows=int(rows))
print(found)
"""


def make_photos(folder: Path, count: int, *, size: int = 96) -> None:
    """Write JPEGs of three classes, their manifest, and a classifier of them."""
    import numpy as np
    import pyarrow
    from PIL import Image
    from pyarrow import parquet

    import tlkit

    draw = np.random.default_rng(0)
    paths, labels = [], []
    for number in range(count):
        label = "abc"[number % 3]
        (folder / label).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (12, 12, 3), "uint8")
        pixels[..., number % 3] //= 2
        picture = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(folder / label / f"{number:06}.jpg")
        paths.append(f"{label}/{number:06}.jpg")
        labels.append(label)
    parquet.write_table(pyarrow.table({"path": paths, "label": labels}), folder / "photos.parquet")
    model = tlkit.build_classifier(
        "mobilenet_v2", 3, input_shape=(size, size, 3), weights="starter", class_names=list("abc")
    )
    tlkit.save(model, folder / "model.keras")


def extract_here(folder: Path, engine: str) -> tuple[Any, Any]:
    """Return digests and features by one process, with the engine and decoding of a training."""
    import numpy as np

    import tlkit
    from tlkit import sources
    from tlkit.caching import Cache
    from tlkit.distributed.trunk import prepare_runner

    data = sources.from_manifest(folder / "photos.parquet", image_size=96)
    runner = prepare_runner(tlkit.load(folder / "model.keras"), Cache(dtype="float16"), engine)
    found = [runner.run(data.images[at : at + 1024])[0] for at in range(0, len(data), 1024)]
    return data.images.digests, np.concatenate(found).reshape(len(data), -1)


def read_all(out: Path) -> tuple[Any, Any]:
    """Return digests and features of a finished extraction."""
    import numpy as np

    from tlkit.distributed import open_features
    from tlkit.distributed.feature_set import read_file

    found = [read_file(file) for file in open_features(out).locations]
    digests = np.concatenate([images.digests for _, images in found])
    return digests, np.concatenate([features for features, _ in found])


def _start(folder: Path, out: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    words = [str(folder / "photos.parquet"), str(out), options.engine, str(options.rows)]
    return subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "-c", _DRIVER, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, _MARK: uuid.uuid4().hex},
    )


def _read_mark(process: Path) -> bytes:
    """Return what tells whose a process is: a variable that a driver's processes inherit."""
    with suppress(OSError):
        variables = (process / "environ").read_bytes().split(b"\0")
        return next((each for each in variables if each.startswith(_MARK.encode())), b"")
    return b""


def _list_processes(mark: bytes, name: bytes = b"") -> list[int]:
    """Return the processes with a mark whose command begins with a name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            own = mark and _read_mark(process) == mark
            if own and (process / "cmdline").read_bytes().startswith(name):
                found.append(int(process.name))
    return found


def _end_all(mark: bytes) -> None:
    """End what a killed driver's cluster has left."""
    for number in _list_processes(mark):
        with suppress(OSError):
            os.kill(number, signal.SIGKILL)


def _wait_for_parts(out: Path, count: int, driver: subprocess.Popen[str]) -> int:
    while driver.poll() is None:
        parts = sum(1 for path in out.glob("*.parquet") if not path.name.startswith("."))
        if parts >= count:
            return parts
        time.sleep(0.05)
    return -1


def _run_trial(folder: Path, out: Path, options: argparse.Namespace, draw: random.Random) -> str:
    """Kill a worker and then the driver; return what happened."""
    total = -(-options.images // options.rows)
    driver = _start(folder, out, options)
    said = []
    mark = _read_mark(Path("/proc", str(driver.pid)))
    try:
        first, second = sorted(draw.sample(range(1, total), 2))
        for name, parts in (("worker", first), ("driver", second)):
            done = _wait_for_parts(out, parts, driver)
            time.sleep(draw.uniform(0, 0.5))
            workers = _list_processes(mark, b"ray::MapWorker")
            if done < 0 or not workers:
                said.append(f"the {name} had finished")
                continue
            os.kill(draw.choice(workers) if name == "worker" else driver.pid, signal.SIGKILL)
            said.append(f"{name} killed at part {done} of {total}")
        if driver.poll() is None and len(said) == 2 and "killed" not in said[1]:
            driver.wait(3600)
    finally:
        driver.kill()
        driver.wait()
        _end_all(mark)
    return ", ".join(said)


def main() -> int:
    """Run the trials, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--engine", default="litert")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import numpy as np

    draw = random.Random(options.seed)  # noqa: S311  # moments, not secrets
    work = Path(tempfile.mkdtemp(prefix="tlkit-cluster-"))
    make_photos(work / "photos", options.images)
    digests, features = extract_here(work / "photos", options.engine)
    failures = 0
    for trial in range(1, options.trials + 1):
        out = work / f"out-{trial}"
        out.mkdir()
        said = _run_trial(work / "photos", out, options, draw)
        last = _start(work / "photos", out, options)
        mark = _read_mark(Path("/proc", str(last.pid)))
        text, _ = last.communicate(timeout=3600)
        _end_all(mark)
        equal = False
        if last.returncode == 0:
            found, values = read_all(out)
            equal = np.array_equal(found, digests) and np.array_equal(
                values.view("uint16"), features.view("uint16")
            )
        failures += not equal
        ran = next((line for line in text.splitlines() if line.startswith("ran ")), text[-500:])
        print(f"{trial}: {said}; then {ran}: {'equal' if equal else 'DIFFERENT'}", flush=True)
        shutil.rmtree(out)
    shutil.rmtree(work)
    print(f"{options.trials} trials of {options.images:,} images, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
