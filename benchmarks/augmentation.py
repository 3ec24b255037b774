"""Measure what named augmentations gain where photos are few: 20 of each class to train on.

    python benchmarks/augmentation.py FOLDER --recipe fast --augment none flip flip+crop

Prints the accuracy on 500 other photos for each augmentation: the mean over seeds, each another
choice of photos, the same for all augmentations.
"""

import argparse
import statistics
import time

import keras
import numpy as np

import tlkit
from tlkit import experiments

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder")
parser.add_argument("--recipe", choices=("fast", "best", "few_images"), default="fast")
parser.add_argument("--augment", nargs="+", default=["none", "flip", "flip+crop"])
parser.add_argument("--image-size", type=int, default=96)
parser.add_argument("--seeds", type=int, default=3)
options = parser.parse_args()

found: dict[str, list[float]] = {}
for seed in range(options.seeds):
    for names in options.augment:
        keras.backend.clear_session()
        experiment = experiments.Experiment(
            options.folder,
            recipe=options.recipe,
            image_size=options.image_size,
            augment=() if names == "none" else tuple(names.split("+")),
            seed=seed,
        )
        split = experiments.split_images(experiment, experiments.load_images(experiment))
        order = np.random.default_rng(seed).permutation(len(split.train))
        few = [
            at
            for label in range(len(split.train.class_names))
            for at in order[split.train.labels[order] == label][:20]
        ]
        some = np.random.default_rng(0).permutation(len(split.test))[:500]
        small = tlkit.splits.Split(
            train=split.train.take(few),
            validation=split.validation,
            test=split.test.take(some),
            duplicates=(),
        )
        started = time.perf_counter()
        trained = experiments.train(experiment, small, verbose=False)
        seconds = time.perf_counter() - started
        found.setdefault(names, []).append(tlkit.evaluate(trained.model, small.test).accuracy)
        print(seed, names, f"{100 * found[names][-1]:.1f} % {seconds:.0f} s", flush=True)
for names, accuracies in found.items():
    spread = f"{100 * min(accuracies):.1f} to {100 * max(accuracies):.1f}"
    print(f"{options.recipe} {names}: {100 * statistics.mean(accuracies):.1f} % ({spread})")
