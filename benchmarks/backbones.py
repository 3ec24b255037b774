"""Measure whether the backbone that a probe recommends is as good as the best, on test images.

    KERAS_HOME=path/to/weights python benchmarks/backbones.py --data path/to/data

Four pretrained backbones are probed on each set, at two image sizes, on training images alone. Then
the recipe `fast` trains each of them at its most accurate size and depth, and the recommended one,
and test images are looked at once for each. Of MNIST and Fashion-MNIST, 5,000 training images are
taken. Finished parts are kept in `--work`.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pages
from recipes import image_set

import tlkit
from tlkit import recipes
from tlkit.evaluation import BackboneSearch, ProbedBackbone
from tlkit.experiments import backbone_choice

PAGE = Path("docs/explanation/which-backbone.md")
FIGURES = Path("docs/results")
BACKBONES = ("mobilenet_v2", "mobilenet_v2:alpha=0.35", "mobilenet:alpha=0.75", "starter")
SIZES = {
    "flowers": (96, 160),
    "Fashion-MNIST": (32, 64),
    "MNIST": (32, 64),
    "scikit-learn digits": (32, 64),
}
MAX_TRAIN = 5000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then write the tables and figures."""
    options = pages.parser(__doc__, "backbones").parse_args(arguments)
    rows = []
    for name in SIZES:
        images = partial(load, name, options.data)
        found = BackboneSearch.from_dict(
            pages.kept(options.work / f"{name}-search.json", partial(search, images, name))
        )
        file = f"backbones-{name.split()[-1].lower()}.png"
        tlkit.plotting.backbone_chart(found).savefig(FIGURES / file, dpi=100)
        for row in compared(found):
            key = f"{name}-{row.candidate}-{row.size_name}-{row.layer}-{row.pooling}".replace(
                ":", "-"
            )
            tested = pages.kept(options.work / f"{key}.json", partial(test, images, row))
            rows.append({"data": name, **describe(found, row), **tested})
        print(found, flush=True)
    pages.publish(PAGE, options.out, rows, table(rows))


def load(name: str, folder: Path) -> tlkit.data.Split:
    """Return a set with at most 5,000 training images."""
    images = image_set(name, folder, 0)
    order = np.random.default_rng(0).permutation(len(images.train))[:MAX_TRAIN]
    return replace(images, train=images.train.take(order))


def search(images: partial, name: str) -> dict:
    """Probe all backbones at both sizes."""
    keras.backend.clear_session()
    found = tlkit.probe_backbones(
        BACKBONES, images().train, image_sizes=SIZES[name], on_message=partial(print, flush=True)
    )
    return found.to_dict()


def compared(found: BackboneSearch) -> list[ProbedBackbone]:
    """Return the most accurate row of each backbone, and the recommended one."""
    best = [
        max((row for row in found.rows if row.candidate == name), key=lambda row: row.accuracy)
        for name in BACKBONES
    ]
    return best if found.recommended in best else [*best, found.recommended]


def test(images: partial, row: ProbedBackbone) -> dict:
    """Train the recipe `fast` with this backbone, and evaluate it on test images."""
    keras.backend.clear_session()
    parts = images()
    recipe = replace(recipes.fast(backbone=row.backbone), name="fast")
    recipe = backbone_choice.end_recipe(recipe, row, limited=True)
    trained = recipe.train(
        parts.train,
        image_size=row.image_size,
        weights=row.weights,
        backbone_options=row.options,
        verbose=False,
    )
    score = tlkit.evaluate(trained.model, parts.test)
    return {"test": score.accuracy, "interval": score.accuracy_interval, "count": score.count}


def describe(found: BackboneSearch, row: ProbedBackbone) -> dict:
    return {
        "backbone": row.candidate,
        "size": row.size_name,
        "layer": row.layer,
        "probed": row.accuracy,
        "ms": row.milliseconds,
        "mb": row.megabytes,
        "recommended": row == found.recommended,
        "seconds": found.seconds,
    }


def table(rows: Sequence[dict]) -> str:
    """Return a line for each backbone on each set."""
    lines = [
        "| data | backbone | px | ends after | probe | test | ms an image | MB |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for name in SIZES:
        group = [row for row in rows if row["data"] == name]
        for row in group:
            backbone = f"**`{row['backbone']}`**" if row["recommended"] else f"`{row['backbone']}`"
            lines.append(
                f"| {name} | {backbone} | {row['size']} | `{row['layer']}` | "
                f"{100 * row['probed']:.1f} % | {100 * row['test']:.1f} % | {row['ms']:.2f} | "
                f"{row['mb']:.2f} |"
            )
    seconds = {row["data"]: row["seconds"] for row in rows}
    took = ", ".join(f"{name} {each:.0f} s" for name, each in seconds.items())
    return "\n".join(lines) + f"\n\nThe probes took: {took}.\n"


if __name__ == "__main__":
    main()
