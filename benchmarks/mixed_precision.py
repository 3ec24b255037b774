"""Measure what `--options dtype=mixed_bfloat16` gains and loses on this processor.

python benchmarks/mixed_precision.py --data path/to/flowers227

The same head is solved on the features of MobileNetV2 in float32 and in bfloat16, on the same
split. Forward passes of the backbone take turns over the same batch; times are of the processor,
over all threads, so that other programs matter little.
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import numpy as np

import tlkit
from tlkit.models import backbones

DTYPES = ("float32", "mixed_bfloat16")
OPTIONS = {"alpha": 0.35}


def main(arguments: list[str] | None = None) -> list[dict[str, float | str]]:
    """Print accuracy and time for each dtype."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    made = {
        dtype: backbones.create(
            "mobilenet_v2",
            image_size=options.size,
            weights=options.weights,
            options={**OPTIONS, "dtype": dtype},
        )
        for dtype in DTYPES
    }
    seconds = measure_times(made, options.size, options.rounds)
    data = tlkit.sources.from_folder(options.data, image_size=options.size)
    parts = tlkit.splits.split(data, duplicates="together", seed=0)
    rows: list[dict[str, float | str]] = []
    for dtype, backbone in made.items():
        accuracy = measure_accuracy(backbone, parts, options.size)
        ratio = seconds[dtype] / seconds["float32"]
        rows.append({"dtype": dtype, "accuracy": accuracy, "time_ratio": ratio})
        print(f"{dtype}: accuracy {100 * accuracy:.2f} %, {ratio:.2f} times the time of float32")
    return rows


def measure_times(made: dict[str, keras.Model], size: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of the processor that a batch of 32 images takes."""
    images = np.random.default_rng(0).uniform(-1, 1, (32, size, size, 3)).astype("float32")
    times: dict[str, list[float]] = {dtype: [] for dtype in made}
    for backbone in made.values():
        backbone.predict_on_batch(images)
    for _ in range(rounds):
        for dtype, backbone in made.items():
            start = time.process_time()
            backbone.predict_on_batch(images)
            times[dtype].append(time.process_time() - start)
    return {dtype: statistics.median(each) for dtype, each in times.items()}


def measure_accuracy(backbone: keras.Model, parts: tlkit.splits.Split, size: int) -> float:
    """Return the test accuracy of a solved head."""
    model = tlkit.build_classifier(
        backbone, len(parts.train.class_names), input_shape=(size, size, 3), pixels="signed"
    )
    tlkit.train_phase(model, tlkit.SolvedHead(), parts.train, verbose=False)
    return tlkit.evaluate(model, parts.test).accuracy


if __name__ == "__main__":
    main()
