"""Measure how long it takes to look up the digests of many images in a store.

python benchmarks/lookup.py --count 100000
"""

import argparse
import tempfile
import time

import numpy as np

from tlkit.caching.store import Store


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Store features of many images in shards, look all of them up, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--rows", type=int, default=4096, help="of a shard")
    options = parser.parse_args(arguments)
    random = np.random.default_rng(0)
    digests = random.integers(0, 2**64, (options.count, 2), "uint64")
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        entry = Store(folder=folder).entry({"of": "a benchmark"})
        for start in range(0, options.count, options.rows):
            some = digests[start : start + options.rows]
            entry.write_rows(some, [np.zeros((len(some), options.features), "float32")])
        shuffled = random.permutation(digests)
        for name, look_up in {
            "digests alone": entry.locate_rows,
            "with the check of all features": entry.find_rows,
        }.items():
            started = time.perf_counter()
            look_up(shuffled)
            seconds[name] = time.perf_counter() - started
    for name, taken in seconds.items():
        print(f"{options.count:,} images, {name}: {taken:.3f} s")
    return seconds


if __name__ == "__main__":
    main()
