"""Measure how many flipped labels an audit finds, and how many of its suspects were flipped.

    python benchmarks/audit.py                                          # digits, starter weights
    python benchmarks/audit.py --data path/to/flowers227 --weights imagenet --size 160

A share of the training labels is changed to another class at random, seed by seed, and the audit
is asked. What was mislabelled before counts as right here, so precision is a lower bound. "looked
at" is the share of the flipped found by who looks at half as many images again as were flipped, in
the order of the scores.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import tlkit
from tlkit import recipes, sources
from tlkit.data import ImageDataset
from tlkit.evaluation import label_audit


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row a seed, and their mean."""
    options = _options(arguments)
    images = _images(options)
    model = recipes.few_images().build(images, image_size=options.size, weights=options.weights)
    print(f"{images.name}: {len(images):,} images, {100 * options.share:g} % of labels flipped\n")
    print("| seed | flipped | suspects | precision | recall | looked at | seconds |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    rows = [measured(model, images, options.share, seed) for seed in range(options.seeds)]
    for seed, row in enumerate(rows):
        print(_line(str(seed), row))
    mean = {key: statistics.mean(row[key] for row in rows) for key in rows[0]}
    print(_line("mean", mean))


def measured(model: Any, images: ImageDataset, share: float, seed: int) -> dict[str, float]:
    """Flip a share of the labels, audit, and compare."""
    random = np.random.default_rng(seed)
    classes = len(tlkit.models.class_names(model))
    count = round(share * len(images))
    at = random.choice(len(images), count, replace=False)
    given = np.array(images.labels)
    given[at] = (given[at] + random.integers(1, classes, count)) % classes
    started = time.perf_counter()
    found = label_audit.audit(model, (images.images, given), seed=seed)
    seconds = time.perf_counter() - started
    flipped = set(at.tolist())
    suspects = {each.index for each in found.suspects}
    looked_at = set(found.scores.argsort()[: round(1.5 * count)].tolist())
    return {
        "flipped": count,
        "suspects": len(suspects),
        "precision": len(suspects & flipped) / max(len(suspects), 1),
        "recall": len(suspects & flipped) / count,
        "looked_at": len(looked_at & flipped) / count,
        "seconds": seconds,
    }


def _line(name: str, row: dict[str, float]) -> str:
    return (
        f"| {name} | {row['flipped']:g} | {row['suspects']:g} | {100 * row['precision']:.1f} % | "
        f"{100 * row['recall']:.1f} % | {100 * row['looked_at']:.1f} % | {row['seconds']:.1f} |"
    )


def _images(options: argparse.Namespace) -> ImageDataset:
    if options.data is None:
        return tlkit.datasets.digits().train
    return sources.from_folder(options.data, image_size=options.size)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder of images, a folder for each class")
    parser.add_argument("--weights", default="starter", help="imagenet or starter")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--share", type=float, default=0.03, help="of labels to flip")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
