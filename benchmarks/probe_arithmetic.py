"""Compare how the probe solves its heads with solving each fold and penalty by itself.

    python benchmarks/probe_arithmetic.py [--data FOLDER --image-size 160 --weights imagenet]

The backbone is run once over the images: by default scikit-learn's digits, by the starter's. Then
the heads of every place are solved in turn by the probe, and as it did before: from the sums of all
other images, with NumPy's solver for any matrix, one place after the other on all cores. It prints
both times, alternating, their ratio, and how many places have another accuracy.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import tlkit
from tlkit._internal import system
from tlkit.evaluation.probing import cross_validation, fitted_sites
from tlkit.evaluation.probing.cross_validation import CrossValidation
from tlkit.training import solvers
from tlkit.training.linear import PENALTIES, Moments, divisors, fold_scaling


def _solve_each(site: CrossValidation) -> float:
    """Return a place's accuracy, as the probe found it before."""
    features, labels, folds = site._concatenate()
    classes = site._num_classes
    logits = np.empty((len(PENALTIES), len(labels), classes), "float32")
    moments = {}
    for fold in np.unique(folds).tolist():
        moments[fold] = Moments(features.shape[1], classes)
        moments[fold].add(features[folds == fold], labels[folds == fold])
    total = Moments(features.shape[1], classes)
    for each in moments.values():
        total.increase(each)
    for fold, own in moments.items():
        others = total.without(own)
        mean, shares = others._sums / others.count, others._class_counts / others.count
        covariance = others._products / others.count - np.outer(mean, mean)
        scale = divisors(np.sqrt(np.maximum(np.diag(covariance), 0)))
        covariance /= np.outer(scale, scale)
        targets = (others._targets / others.count - np.outer(mean, shares)) / scale[:, None]
        for number, penalty in enumerate(PENALTIES):
            kernel = np.linalg.solve(covariance + penalty * np.eye(len(scale)), targets)
            linear = fold_scaling(kernel, shares, mean, scale, penalty)
            logits[number, folds == fold] = linear.logits(features[folds == fold])
    return max(solvers.score(labels, each) for each in logits)


def _solve_all(sites: list[CrossValidation]) -> list[float]:
    return [_solve_each(site) for site in sites]


def _solve_by_probe(sites: list[CrossValidation]) -> list[float]:
    return cross_validation.map_sites(CrossValidation.accuracy, sites)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder of images; by default the digits")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--weights", default="starter")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.data is None:
        data = tlkit.datasets.digits().train
    else:
        data = tlkit.sources.from_folder(options.data, image_size=options.image_size)
    model = tlkit.build_classifier(
        "mobilenet_v2",
        len(data.class_names),
        input_shape=data.images.shape[1:],
        image_size=options.image_size,
        value_range=data.value_range,
        weights=options.weights,
    )
    fitted = fitted_sites.fit_sites(
        model, data, sample=5000, max_features=1024, engine="auto", seed=0
    )
    ways: dict[str, Callable[..., Any]] = {"probe": _solve_by_probe, "each": _solve_all}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(options.repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            found[name] = way(fitted.fits)
            seconds[name].append(time.perf_counter() - started)
    probe, each = (statistics.median(seconds[name]) for name in ways)
    other = sum(a != b for a, b in zip(found["probe"], found["each"], strict=True))
    best = [int(np.argmax(found[name])) for name in ways]
    print(f"{system.processor()}, {system.count_cores()} cores")
    print(f"{len(data):,} images, {len(fitted.sites)} places, {len(data.class_names)} classes")
    print(f"by the probe {probe:.2f} s, each by itself {each:.2f} s: {each / probe:.1f} times")
    print(f"places with another accuracy: {other}; the same is best: {best[0] == best[1]}")


if __name__ == "__main__":
    main()
