"""Measure what the size of the images does to a linear head, at the last layer and at the best.

    python benchmarks/resolution.py --data path/to/data

A row is one probe of ImageNet's MobileNetV2 by ridge regression, on training images alone: each
image is scored by a head that was not fitted to it. Nothing is trained, and no test image is looked
at. Finished rows are kept in `--work`.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import pages
from recipes import image_set

import tlkit
from tlkit import recipes

PAGE = Path("docs/explanation/resolution.md")
SIZES = {"MNIST": (32, 64, 96), "Fashion-MNIST": (32, 64, 96), "flowers": (32, 64, 96, 160, 224)}
SAMPLE = 5000


def main(arguments: Sequence[str] | None = None) -> None:
    """Probe what is missing, then write the table."""
    options = pages.parser(__doc__, "resolution").parse_args(arguments)
    rows = []
    for name, sizes in SIZES.items():
        images = image_set(name, options.data, 0)
        for size in sizes:
            measure = partial(measured, images, name, size)
            rows.append(pages.kept(options.work / f"{name}-{size}.json", measure))
    pages.publish(PAGE, options.out, rows, table(rows))


def measured(images: tlkit.data.Split, name: str, size: int) -> dict:
    """Probe once; a row of figures."""
    keras.backend.clear_session()
    model = replace(recipes.fast(), features=None).build(images.train, image_size=size)
    probe = tlkit.probe(model, images.train, sample=SAMPLE)
    last = probe.layers[-1].layer
    ends = [each for each in probe.layers if each.layer == last]
    pooled = next(each for each in ends if each.pooling == "avg")
    return {
        "data": name,
        "size": size,
        "scored": probe.num_scored,
        "standard_error": probe.standard_error,
        "map": tlkit.models.backbone_of(model).output_shape[1],
        **{
            key: {"layer": each.layer, "accuracy": each.accuracy, "work": each.multiply_adds}
            for key, each in {"last": pooled, "best": probe.best, "chosen": probe.chosen}.items()
        },
    }


def table(rows: Sequence[dict]) -> str:
    """Return a line for each set and size."""
    lines = [
        "| data | size | last map | last layer, pooled | best layer | chosen layer | "
        "million multiply-adds, last / chosen |",
        "|---|---:|---|---:|---|---|---:|",
    ]
    for row in rows:
        last, best, chosen = (row[key] for key in ("last", "best", "chosen"))
        lines.append(
            f"| {row['data']} | {row['size']} | {row['map']}x{row['map']} | "
            f"{100 * last['accuracy']:.1f} % | {100 * best['accuracy']:.1f} %, `{best['layer']}` | "
            f"{100 * chosen['accuracy']:.1f} %, `{chosen['layer']}` | "
            f"{last['work'] / 1e6:.1f} / {chosen['work'] / 1e6:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
