"""Train a multi-label classifier on canvases of up to two MNIST digits, and write its report.

    python benchmarks/multi_label.py --data path/to/mnist.npz --out runs/two-digits

The set is made at run time: canvases of 64 x 64 pixels as PNG files, and a table with their digits
("3|7"; empty for a tenth of the canvases, without a digit). No digit is used twice, so that no test
image has one of the training images'. The run is that of

    tlkit train digits.csv --label-separator "|" --image-size 96 --validation 0.15 --out RUN
"""

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit import datasets
from tlkit.experiments import Experiment, run

_SIDE = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the canvases, train, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="mnist.npz; by default Keras loads it")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--count", type=int, default=4000, help="number of canvases")
    parser.add_argument("--size", type=int, default=96, help="pixels that the backbone gets")
    parser.add_argument("--weights", default="imagenet")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        table = make_canvases(Path(folder), options.data, options.count)
        experiment = Experiment(
            table,
            label_separator="|",
            image_size=options.size,
            weights=options.weights,
            validation=0.15,
        )
        result = run(experiment, options.out, on_message=print)
    print(result.evaluation.summary())


def make_canvases(folder: Path, data: str | None, count: int, *, seed: int = 0) -> Path:
    """Write canvases and the table of their labels, and return the table."""
    random = np.random.default_rng(seed)
    mnist = datasets.mnist(data).train
    unused = iter(random.permutation(len(mnist)))
    numbers = random.choice(3, count, p=[0.1, 0.2, 0.7])
    table = folder / "digits.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        for index, number in enumerate(numbers):
            chosen = [next(unused) for _ in range(number)]
            canvas = draw([mnist.images[at] for at in chosen], random)
            Image.fromarray(canvas).save(folder / f"{index:05}.png")
            digits = sorted({int(mnist.labels[at]) for at in chosen})
            writer.writerow((f"{index:05}.png", "|".join(map(str, digits))))
    return table


def draw(digits: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """Return a canvas with one digit in its left half and one in its right, in either order."""
    canvas = random.integers(0, 60, (_SIDE, _SIDE), "uint8")  # noise, so that no two look alike
    halves = random.permutation(2)[: len(digits)]
    for digit, half in zip(digits, halves, strict=True):
        top, left = random.integers(0, _SIDE - 28), half * 32 + random.integers(0, 4)
        place = canvas[top : top + 28, left : left + 28]
        np.maximum(place, digit, out=place)
    return canvas


if __name__ == "__main__":
    main()
