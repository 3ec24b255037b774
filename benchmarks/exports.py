"""Export several classifiers to every format, prove each file, and write the table of the page.

    KERAS_HOME=path/to/weights python benchmarks/exports.py --data path/to/data

Every cell is `tlkit.export` with the test images of its data set: its proof runs in a process
without Keras. A cell that can't be written has its reason in place of figures. Finished cells are
kept in `--work`. Milliseconds are the median of 10 batches of raw images in memory.
"""

import re
import statistics
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pages
from recipes import image_set

import tlkit
from tlkit import recipes
from tlkit.deployment import formats
from tlkit.errors import TlkitError

PAGE = Path("docs/explanation/exports.md")
CELLS = (
    ("saved_model", "float32"),
    ("keras", "float32"),
    ("onnx", "float32"),
    ("openvino", "float32"),
    ("openvino", "int8"),
    ("litert", "float32"),
    ("litert", "float16"),
    ("litert", "int8"),
)
MAX_IMAGES = 2000  # of MNIST, to train on and to test
REPEATS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cells that are missing, then write the tables."""
    parser = pages.parser(__doc__, "exports")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="some of them")
    options = parser.parse_args(arguments)
    rows = []
    for name in options.models:
        build = MODELS[name]
        made = cache(partial(build, options.data))
        key = name.replace(" ", "-").replace(",", "")
        file = options.work / f"{key}.json"
        rows.append(
            {"model": name, "format": "Keras", **pages.kept(file, partial(time_keras, made))}
        )
        for form, precision in CELLS:
            cell = partial(measure, made, form, precision)
            found = pages.kept(options.work / f"{key}-{form}-{precision}.json", cell)
            rows.append({"model": name, "format": form, "precision": precision, **found})
    pages.publish(PAGE, options.out, rows, tables(rows))


def measure(made: Callable[[], Any], form: str, precision: str) -> dict[str, Any]:
    """Export a classifier, and return its proof, or why it can't be exported."""
    model, train, test = made()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{formats.get(form).EXTENSION}"
        how = {"precision": precision, "test_data": test, "calibration_data": train}
        try:
            return {"proof": tlkit.export(model, path, format=form, **how).proof.to_dict()}
        except TlkitError as error:
            return {"reason": shorten(str(error))}


def shorten(reason: str) -> str:
    """Return why a file was refused, without the folders of this machine."""
    return textwrap.shorten(re.sub(r"(?<![\w.])/[^\s']*/", "", reason), 400, placeholder=" ...")


def time_keras(made: Callable[[], Any]) -> dict[str, Any]:
    """Return how long `predict_on_batch` takes, and the number of weights."""
    model, _, test = made()
    images = np.stack([test.images[at] for at in range(32)])
    return {
        "parameters": model.count_params(),
        "milliseconds": {size: time_batch(model, images[:size]) / size for size in (1, 32)},
    }


def time_batch(model: keras.Model, images: np.ndarray) -> float:
    """Return the median of some runs of a batch, in milliseconds."""
    model.predict_on_batch(images)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.predict_on_batch(images)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def starter_digits(data: Path) -> tuple[Any, ...]:
    split = image_set("digits", data, 0)
    return train_fast(split, image_size=32, weights="starter")


def flowers(data: Path) -> tuple[Any, ...]:
    return train_fast(image_set("flowers", data, 0), image_size=160)


def tapped_mnist(data: Path) -> tuple[Any, ...]:
    split = image_set("MNIST", data, 0)
    some = np.arange(MAX_IMAGES)
    return train_fast(
        replace(split, train=split.train.take(some), test=split.test.take(some)), image_size=32
    )


def fine_tuned(data: Path) -> tuple[Any, ...]:
    split = image_set("digits", data, 0)
    recipe = recipes.best(epochs=2)
    made = recipe.train(split.train, image_size=32, weights="starter", verbose=False)
    return made.model, split.train, split.test


def two_taps(data: Path) -> tuple[Any, ...]:
    layers = ["block_3_expand_relu", "block_6_expand_relu"]
    return solve("mobilenet_v2", data, features=layers, image_size=32, weights="starter")


def convnext(data: Path) -> tuple[Any, ...]:
    return solve("convnext_tiny", data, image_size=32, weights=None)


def mobilenet_v3(data: Path) -> tuple[Any, ...]:
    return solve("mobilenet_v3_small", data, image_size=64, weights=None)


def small_vit(data: Path) -> tuple[Any, ...]:
    import keras_hub  # the extra `hub`

    settings = {"num_layers": 4, "num_heads": 3, "hidden_dim": 48, "mlp_dim": 96}
    backbone = keras_hub.models.ViTBackbone(image_shape=(32, 32, 3), patch_size=8, **settings)
    return solve(backbone, data, pixels="signed")


def train_fast(split: Any, **settings: Any) -> tuple[Any, ...]:
    """Return a classifier of the recipe `fast`, its training and its test images."""
    made = recipes.fast().train(split.train, verbose=False, **settings)
    return made.model, split.train, split.test


def solve(backbone: Any, data: Path, **settings: Any) -> tuple[Any, ...]:
    """Return a classifier of digits whose head was solved on a backbone."""
    keras.utils.set_random_seed(0)
    split = image_set("digits", data, 0)
    train = split.train
    model = tlkit.build_classifier(
        backbone,
        len(train.class_names),
        input_shape=train.images.shape[1:],
        value_range=train.value_range,
        class_names=train.class_names,
        **settings,
    )
    tlkit.train_phase(model, tlkit.SolvedHead(), train, verbose=False)
    tlkit.fit_ood(model, train)
    return model, train, split.test


MODELS = {
    "starter, digits": starter_digits,
    "MobileNetV2, flowers at 160": flowers,
    "tapped MobileNetV2, MNIST": tapped_mnist,
    "fine-tuned, digits": fine_tuned,
    "two taps, digits": two_taps,
    "ConvNeXt Tiny, random": convnext,
    "small ViT, random": small_vit,
    "MobileNetV3 Small, random": mobilenet_v3,
}


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table for each model, and the reasons of the cells without figures."""
    parts = []
    for name in dict.fromkeys(row["model"] for row in rows):
        first, *cells = [row for row in rows if row["model"] == name]
        one, many = first["milliseconds"]["1"], first["milliseconds"]["32"]
        parts += [
            f"\n### {name} ({first['parameters']:,} weights)\n",
            "| format | images compared | largest difference | labels the same | accuracy | MB "
            "| start, s | ms, one | ms, of 32 |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
            f"| `model.predict_on_batch` | | | | | | | {one:.2f} | {many:.2f} |",
            *(line(row) for row in cells),
        ]
        reasons = dict.fromkeys(
            f"- {label(row)}: {row['reason']}" for row in cells if "reason" in row
        )
        parts += ["", *reasons] if reasons else []
    return "\n".join(parts)


def line(row: dict[str, Any]) -> str:
    """Return the line of a cell."""
    if "reason" in row:
        return f"| {label(row)} | refused | | | | | | | |"
    proof = row["proof"]
    first, second = proof["comparison"]["accuracies"]
    one, many = proof["milliseconds"]["1"], proof["milliseconds"]["32"]
    accuracy = f"{100 * second:.1f} %" + (f" (of {100 * first:.1f})" if first != second else "")
    return (
        f"| {label(row)} | {proof['num_images']:,} | {proof['largest_difference']:.1g} | "
        f"{100 * proof['agreement']:.1f} % | {accuracy} | {proof['megabytes']:.2f} | "
        f"{proof['start_seconds']:.2f} | {one:.2f} | {many:.2f} |"
    )


def label(row: dict[str, Any]) -> str:
    """Return the name of a cell's format."""
    return row["format"] + ("" if row["precision"] == "float32" else f", {row['precision']}")


if __name__ == "__main__":
    main()
