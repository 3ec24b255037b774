"""Measure what it would save if a scan also made the pixels, from one decoding of each file.

python benchmarks/decode_once.py --data path/to/flowers227

Three ways take turns over the same files: the scan alone, the scan and then reading all images (as
tlkit does), and one decoding for both. The files are the photos as they are, as PNG, and enlarged
to the 12 megapixels of a camera. Times are of the processor, over all threads, so that other
programs matter little.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import imagehash
import joblib
import numpy as np
from PIL import Image

from tlkit.data import decoding, scanning
from tlkit.data.lazy_images import read_all

THUMBNAIL = (32, 32)


def main(arguments: list[str] | None = None) -> list[dict[str, float]]:
    """Time the three ways on each kind of files, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=300, help="PNG files; a tenth of it as photos")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return [
            {"kind": kind, **measure(files, (options.size, options.size), options.rounds)}
            for kind, files in make_files(options.data, Path(folder), options.count)
        ]


def make_files(data: Path, folder: Path, count: int) -> Iterator[tuple[str, list[Path]]]:
    """Yield each kind of files with its name."""
    photos = sorted(data.rglob("*.jpg"))
    yield "JPEG, 227 x 227", photos
    chosen = photos[:: max(len(photos) // count, 1)]
    for number, photo in enumerate(chosen):
        Image.open(photo).save(folder / f"{number}.png")
    yield "PNG, 227 x 227", sorted(folder.glob("*.png"))
    for number, photo in enumerate(chosen[::10]):
        Image.open(photo).resize((4000, 3000)).save(folder / f"{number}.jpg", quality=92)
    yield "JPEG, 4000 x 3000", sorted(folder.glob("*.jpg"))


def measure(files: list[Path], size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each way for a file, and how many hashes differ."""
    ways: dict[str, Callable[[], object]] = {
        "scan": lambda: scanning.scan_files(files),
        "scan, then read": lambda: read_twice(files, size),
        "once": lambda: read_once(files, size),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    found = {name: 1000 * statistics.median(each) / len(files) for name, each in seconds.items()}
    scans, pixels = read_twice(files, size)
    once = read_once(files, size)
    found["hashes that differ"] = float(
        np.mean(
            [scan.perceptual_hash != hashed for scan, (_, hashed) in zip(scans, once, strict=True)]
        )
    )
    assert all(np.array_equal(one, other) for one, (other, _) in zip(pixels, once, strict=True))
    print({name: round(value, 3) for name, value in found.items()}, flush=True)
    return found


def read_twice(
    files: list[Path], size: tuple[int, int]
) -> tuple[list[scanning.Scan], list[np.ndarray]]:
    """Scan all files, then read all as tlkit does."""
    scans = scanning.scan_files(files)

    def read(number: int) -> np.ndarray:
        content = scanning.read_again(files[number], scans[number])
        return decoding.decode(content, size)

    return scans, list(read_all(read, list(range(len(files)))))


def read_once(files: list[Path], size: tuple[int, int]) -> list[tuple[np.ndarray, int]]:
    """Return the pixels and the perceptual hash of each file, from one decoding for the pixels."""
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        return list(pool.map(lambda file: _decode_both(file.read_bytes(), size), files))


def _decode_both(content: bytes, size: tuple[int, int]) -> tuple[np.ndarray, int]:
    scanning._digest(content)
    with Image.open(BytesIO(content)) as opened:
        opened.draft(None, (2 * size[1], 2 * size[0]))
        form = decoding.find_form(opened)
        opened.load()
        eight_bits, _ = decoding._to_eight_bits(decoding._rotate_upright(opened), form, None)
        pixels = np.asarray(decoding._squash(eight_bits.convert("RGB"), size[::-1]))
        small = decoding._squash(eight_bits.convert("L"), THUMBNAIL)
    return pixels, int(str(imagehash.phash(small)), 16)


if __name__ == "__main__":
    main()
