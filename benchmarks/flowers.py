"""Train on a folder of photos as `tlkit train` does, over seeds: each another split.

    python benchmarks/flowers.py path/to/flowers227

Prints the test accuracy of each seed, their mean and its 95 % interval by Student's t.
"""

import argparse
import json
import math
import statistics
import time

import keras
from scipy.stats import t as student

import tlkit
from tlkit import experiments


def main(arguments: list[str] | None = None) -> None:
    """Measure every seed, then print the mean."""
    options = _options(arguments)
    rows = []
    for seed in range(options.seeds):
        keras.backend.clear_session()
        experiment = experiments.Experiment(
            data=options.folder,
            recipe=options.recipe,
            seed=seed,
            augment=("flip", "shift", "zoom") if options.recipe == "best" else (),
        )
        split = experiments.split_images(experiment, experiments.load_images(experiment))
        started = time.perf_counter()
        trained = experiments.train(experiment, split, verbose=False)
        score = tlkit.evaluate(trained.model, split.test)
        rows.append({"accuracy": score.accuracy, "seconds": time.perf_counter() - started})
        print(seed, len(split.train), len(split.test), json.dumps(rows[-1]), flush=True)
    accuracies = [row["accuracy"] for row in rows]
    wide = student.ppf(0.975, len(rows) - 1) * statistics.stdev(accuracies) / math.sqrt(len(rows))
    print(f"{options.recipe}: {statistics.mean(accuracies):.4f} +- {wide:.4f}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--recipe", choices=("fast", "best"), default="fast")
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
