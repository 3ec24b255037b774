"""Measure which image size suits the starter on photos: its own 32 pixels, or larger ones.

    python benchmarks/starter_size.py path/to/flowers

Each line is one probe of training images alone by ridge regression: each image is scored by a head
that was not fitted to it. No test image is looked at.
"""

import sys
from dataclasses import replace

import keras

import tlkit
from tlkit import recipes

SIZES = (32, 64, 96, 160, 224)


def main(folder: str) -> None:
    """Print the accuracy at each size, of the last layer and of the best."""
    for size in SIZES:
        keras.backend.clear_session()
        photos = tlkit.sources.from_folder(folder, image_size=size)
        train = tlkit.splits.split(photos, test=0.2, duplicates="together", seed=0).train
        recipe = replace(recipes.fast(), features=None)
        probe = tlkit.probe(recipe.build(train, image_size=size, weights="starter"), train)
        last = probe.layers[-1]
        print(
            f"{size}: last {100 * last.accuracy:.1f} %, "
            f"best {100 * probe.best.accuracy:.1f} % ({probe.best.layer}), "
            f"standard error {100 * probe.standard_error:.1f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
