"""Compare what folds say of a classifier of few images with its accuracy on many others.

    python benchmarks/folds.py                              # digits, starter weights
    python benchmarks/folds.py --images 150

Some images are drawn, the recipe `fast` is trained on all of them and evaluated by folds, as
`tlkit train --folds` does it, and by a test set of a fifth of them. The classifier is also
evaluated on all other images, which tells how good it is. A row shows how far each estimate is from
that, as a mean (0 if it is neither too good nor too bad) and as a deviation.
"""

import argparse
import statistics
import warnings
from collections.abc import Sequence

import numpy as np

import tlkit
from tlkit import recipes, splits
from tlkit.data import ImageDataset
from tlkit.datasets import digits


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each way to estimate the accuracy."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args(arguments)
    images = digits().train
    rows = [measure(images, options.images, options.folds, seed) for seed in range(options.draws)]
    print(f"{options.images} images of {images.name}, {options.draws} draws")
    print("| estimate | accuracy, % | too high by, points | deviation, points |")
    print("|---|---:|---:|---:|")
    for name in rows[0]:
        errors = [100 * (row[name] - row["many other images"]) for row in rows]
        mean = statistics.mean(100 * row[name] for row in rows)
        spread = statistics.mean(error**2 for error in errors) ** 0.5
        print(f"| {name} | {mean:.1f} | {statistics.mean(errors):+.1f} | {spread:.1f} |")


def measure(images: ImageDataset, count: int, folds: int, seed: int) -> dict[str, float]:
    """Return the accuracy of a classifier of a few images, estimated in three ways."""
    drawn = _draw(images.labels, count // len(images.class_names), seed)
    few, others = images.take(drawn), images.take(np.setdiff1d(np.arange(len(images)), drawn))
    settings = {"image_size": 32, "weights": "starter", "seed": seed, "verbose": False}
    model = recipes.fast().train(few, **settings).model
    found = tlkit.evaluation.cross_validate(model, few, folds=folds, seed=seed)
    parts = splits.split(few, test=0.2, duplicates="allow", stratify=True, seed=seed)
    smaller = recipes.fast().train(parts.train, **settings).model
    return {
        "folds": found.pooled.accuracy,
        "a fifth for testing": tlkit.evaluate(smaller, parts.test).accuracy,
        "many other images": tlkit.evaluate(model, others).accuracy,
    }


def _draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return so many images of each class."""
    random = np.random.default_rng(seed)
    own = (np.flatnonzero(labels == label) for label in np.unique(labels))
    return np.concatenate([random.permutation(each)[:count] for each in own])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
