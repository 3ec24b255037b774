"""Measure each setting of fine-tuning by itself: one thing changed from `recipes.best`, over seeds.

    python benchmarks/fine_tuning.py --data path/to/data

ImageNet's MobileNetV2 at 32 pixels on some of Fashion-MNIST's training images; others of them are
measured on, and no test image is looked at. The layer that the head reads is the same for all.
Every variant of a seed starts from the same weights, and sees the same images in the same order.
Finished runs are kept in `--work`.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pages
from recipes import changes, image_set, interval

import tlkit
from tlkit import Phase, SolvedHead, recipes
from tlkit.data import Split

PAGE = Path("docs/explanation/fine-tuning.md")
SET = "Fashion-MNIST"
TRAIN, HELD_OUT = 5_000, 10_000
READS = "block_6_project_BN"  # for all: what is compared is what comes after
BASE = replace(
    recipes.best(epochs=6, learning_rate=1e-3, batch_size=128).fine_tune,
    augmentation=(),
)
HEAD_ALONE = "the solved head alone, no fine-tuning"
VARIANTS: dict[str, dict[str, Any]] = {
    HEAD_ALONE: {},
    "as `recipes.best`": {},
    "`warmup=0`": {"warmup": 0.0},
    '`schedule="constant"`': {"schedule": "constant"},
    "neither of the two": {"schedule": "constant", "warmup": 0.0},
    "`global_clipnorm=None`": {"global_clipnorm": None},
    "`layer_decay=0.8`": {"layer_decay": 0.8},
    '`optimizer="adamw", weight_decay=0.05`': {"optimizer": "adamw", "weight_decay": 0.05},
    "`label_smoothing=0.1`": {"label_smoothing": 0.1},
    "`ema_momentum=0.99`": {"ema_momentum": 0.99},
    '`batchnorm="train"`': {"batchnorm": "train"},
    '`batchnorm="reestimate"`': {"batchnorm": "reestimate"},
    "`augmentation=(flip, shift)`": {"augmentation": "changes"},
    "a fresh head, one epoch of Adam": {"head": Phase(learning_rate=1e-3)},
    "`learning_rate=1e-5`, as described": {"learning_rate": 1e-5},
    "`learning_rate=1e-2`": {"learning_rate": 1e-2},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, then write the table."""
    parser = pages.parser(__doc__, "fine_tuning")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    rows: dict[str, list[dict]] = {name: [] for name in VARIANTS}
    for seed in range(options.seeds):
        images = some(image_set(SET, options.data, 0), seed)
        for number, (name, settings) in enumerate(VARIANTS.items()):
            measure = partial(measured, images, name, settings, seed)
            rows[name].append(pages.kept(options.work / f"{number}-{seed}.json", measure))
    pages.publish(PAGE, options.out, rows, table(rows))


def some(images: Split, seed: int) -> Split:
    """Return a set of training images alone, some of them held out as its test."""
    order = np.random.default_rng(seed).permutation(len(images.train))
    train, test = order[:TRAIN], order[TRAIN : TRAIN + HELD_OUT]
    return replace(images, train=images.train.take(train), test=images.train.take(test))


def measured(images: Split, name: str, settings: dict[str, Any], seed: int) -> dict:
    """Train one variant, and measure it on the images held out."""
    keras.backend.clear_session()
    settings = dict(settings)
    head = settings.pop("head", SolvedHead())
    if settings.get("augmentation") == "changes":
        settings["augmentation"] = changes(SET)
    tail = None if name == HEAD_ALONE else replace(BASE, **settings)
    recipe = replace(
        recipes.best(), head=head, fine_tune=tail, features=READS, pooling="flatten", max_layers=1
    )
    trained = recipe.train(images.train, image_size=32, seed=seed, verbose=False)
    score = tlkit.evaluate(trained.model, images.test)
    return {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "calibration_error": score.calibration_error,
        "diverged": trained.run.phases[-1].diverged,
        "seconds": trained.seconds,
    }


def table(rows: dict[str, list[dict]]) -> str:
    """Return a line for each variant: means over seeds with 95 % intervals."""
    base = [row["accuracy"] for row in rows["as `recipes.best`"]]
    lines = [
        "| changed setting | accuracy, % | difference, points | loss | calibration error, % | "
        "diverged |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, each in rows.items():
        paired = [100 * (row["accuracy"] - one) for row, one in zip(each, base, strict=True)]
        lines.append(
            f"| {name} | {interval([100 * row['accuracy'] for row in each])} | "
            f"{'' if each is rows['as `recipes.best`'] else interval(paired)} | "
            f"{statistics.mean(row['loss'] for row in each):.3f} | "
            f"{100 * statistics.mean(row['calibration_error'] for row in each):.1f} | "
            f"{sum(row['diverged'] is not None for row in each)} of {len(each)} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
