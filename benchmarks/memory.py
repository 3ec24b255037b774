"""Measure how much memory each of many trainings in one process leaves taken.

`python benchmarks/memory.py` trains a small backbone 30 times with tlkit, and with plain Keras as
the guides show it, each in a process of its own, and prints the memory after each fifth training.
With `--clear`, `keras.backend.clear_session()` is called after each.
"""

import argparse
import gc
import json
import multiprocessing
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TRAININGS = 30


def main() -> None:
    """Print a line for each way to train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clear", action="store_true", help="call clear_session after each")
    parser.add_argument("--trainings", type=int, default=TRAININGS)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for way in ("plain", "solved", "phase", "two phases"):
        with context.Pool(1) as pool:
            sizes = pool.apply(measure, (way, options.trainings, options.clear))
        half = sizes[len(sizes) // 2 :]
        growth = (half[-1] - half[0]) / (len(half) - 1)
        print(json.dumps({"way": way, "MiB": sizes[::5], "MiB a training": round(growth, 1)}))


def measure(way: str, trainings: int, clear: bool) -> list[int]:
    """Return the memory after each training, in MiB."""
    import keras
    import numpy as np

    from tlkit._internal import system

    random = np.random.default_rng(0)
    data = random.integers(0, 256, (256, 32, 32, 3), "uint8"), np.arange(256) % 3
    sizes = []
    for _ in range(trainings):
        _train(way, data)
        if clear:
            keras.backend.clear_session()
        gc.collect()
        sizes.append((system.resident_bytes() or 0) // 2**20)
    return sizes


def _train(way: str, data: Any) -> None:
    import keras

    import tlkit

    backbone = tlkit.models.backbones.create("mobilenet_v2", image_size=32, weights="starter")
    if way == "plain":
        inputs = keras.Input((32, 32, 3))
        x = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs), training=False)
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
        backbone.trainable = False
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(*data, epochs=2, verbose=0)
        return
    model = tlkit.build_classifier(backbone, 3, pixels=(-1, 1))
    if way == "two phases":
        tune = tlkit.Phase(epochs=1, learning_rate=1e-5, freeze=tlkit.freezing.first(100))
        trainer = tlkit.TwoPhaseTrainer(head=tlkit.Phase(epochs=2), fine_tune=tune)
        trainer.fit(model, data, verbose=False)
    else:
        phase = tlkit.SolvedHead() if way == "solved" else tlkit.Phase(epochs=2)
        tlkit.train_phase(model, phase, data, verbose=False)


if __name__ == "__main__":
    main()
