"""Measure the memory that planning, splitting, training and testing on very many images take.

    python benchmarks/streaming.py --count 100000

The images are made when they are asked for, so that no disk is needed: noise around a class's own
pattern. Peak memory is that of the whole process, TensorFlow included.
"""

import argparse
import json
import resource
import time

import numpy as np

import tlkit
from tlkit import recipes, splits
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.experiments import runner

CLASSES = 10


def main(arguments: list[str] | None = None) -> dict:
    """Run once, and print what it took as JSON."""
    options = _options(arguments)
    patterns = np.random.default_rng(0).integers(0, 256, (CLASSES, 8, 8, 3), "uint8")

    def read(place: int) -> np.ndarray:
        noise = np.random.default_rng(place).integers(0, 96, (options.size, options.size, 3))
        side = options.size // 8
        pattern = np.kron(patterns[place % CLASSES], np.ones((side, side, 1), "uint8"))
        return (pattern // 2 + noise).astype("uint8")

    marks, started = {}, time.perf_counter()

    def mark(name: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        marks[name] = {"seconds": time.perf_counter() - started, "peak_bytes": peak}
        print(name, marks[name], flush=True)

    mark("start")
    places = np.arange(options.count)
    source = ImageDataset(
        name="made",
        images=LazyImages(read, places, shape=(options.size, options.size, 3)),
        labels=places % CLASSES,
        class_names=tuple(f"class {number}" for number in range(CLASSES)),
    )
    parts = splits.split(source, duplicates="allow")
    print(runner.plan(source, parts))
    mark("planned and split")
    trained = recipes.fast().train(
        parts.train,
        image_size=options.size,
        weights="starter",
        verbose=False,
    )
    mark("trained")
    score = tlkit.evaluate(trained.model, parts.test)
    mark("evaluated")
    result = {"count": options.count, "accuracy": score.accuracy, "marks": marks}
    print(json.dumps(result))
    return result


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=64)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
