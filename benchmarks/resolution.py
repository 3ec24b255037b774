"""Measure what the size of the images does to a linear head, at the last layer and at the best.

    KERAS_HOME=../shared/keras-home python benchmarks/resolution.py --data ../shared/data

A row is one probe of ImageNet's MobileNetV2 by ridge regression, on training images alone: each
image is scored by a head that was not fitted to it. Nothing is trained, and no test image is looked
at. Finished rows are kept in `--work`.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
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
    options = _options(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, sizes in SIZES.items():
        images = image_set(name, options.data, 0)
        for size in sizes:
            path = options.work / f"{name}-{size}.json"
            if not path.is_file():
                path.write_text(json.dumps(measured(images, name, size)))
            rows.append(json.loads(path.read_text()))
    text = table(rows)
    print(text)
    record = {"rows": rows, "environment": tlkit.runs.environment()}
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    pages.insert(PAGE, text)


def measured(images: tlkit.datasets.ImageSet, name: str, size: int) -> dict:
    """Probe once; a row of figures."""
    keras.backend.clear_session()
    model = replace(recipes.fast(), features=None).build(images, size=size)
    probe = tlkit.probe(model, images.train, sample=SAMPLE)
    last = probe.readings[-1].layer
    ends = [each for each in probe.readings if each.layer == last]
    pooled = next(each for each in ends if each.pooling == "avg")
    return {
        "data": name,
        "size": size,
        "scored": probe.scored,
        "standard_error": probe.standard_error,
        "map": tlkit.backbone_of(model).output_shape[1],
        **{
            key: {"layer": each.layer, "accuracy": each.accuracy, "work": each.work}
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


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--out", type=Path, default=Path("docs/results/resolution.json"))
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "tlkit-resolution"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
