"""Measure recipes against each other, and against plain Keras, over seeds.

    python benchmarks/recipes.py --data path/to/data

The folder holds mnist.npz, fashion_mnist.npz and flowers227/ with a folder of JPEGs for each class.
Seconds are those of `Recipe.train`: building, probing and training, not imports. Plain Keras'
seconds are one epoch of each phase of the user's experiment over a part of the images, warmed up,
times its epochs. The test images are looked at once for each figure; nothing is chosen on them.
Finished parts are kept in `--work`.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pages
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import t as student
from speed import plain_epoch_of

import tlkit
from tlkit import freezing, recipes, sources
from tlkit.data import Split
from tlkit.plotting import charts

PAGE = Path("docs/explanation/taps.md")
SETS = {
    "MNIST": {"image_size": 32},
    "Fashion-MNIST": {"image_size": 32},
    "flowers, 160 px": {"image_size": 160},
    "MNIST, 1,000 images": {"image_size": 32},
    "scikit-learn digits, starter": {"image_size": 32, "weights": "starter"},
}
MORE = {
    "scikit-learn digits": {"image_size": 32},
    "Fashion-MNIST, 1,000 images": {"image_size": 32},
    "flowers, 96 px": {"image_size": 96},
    "flowers, 20 a class": {"image_size": 160},
    "flowers, 2 classes": {"image_size": 160},
}
OTHER = {"backbone": "mobilenet", "backbone_options": {"alpha": 0.75}}
SECOND = {  # the same on MobileNet, for `best.py`
    f"{name}, MobileNet": {**settings, **OTHER}
    for name, settings in (SETS | MORE).items()
    if name.startswith("flowers") or "1,000" in name
}
DRAWN = {"MNIST": "probe-mnist.png", "flowers, 160 px": "probe-flowers.png"}
RECIPES = {
    "fast": recipes.fast,
    "best": recipes.best,
    "mnist_as_described": recipes.mnist_as_described,
}
HEADINGS = {
    "fast": "head only (`fast`)",
    "best": "head, then fine-tuning (`best`)",
    "mnist_as_described": "the usual two phases (`mnist_as_described`)",
}
MANY = {
    "epochs": 40,
    "learning_rate": 2e-3,
    "batch_size": 256,
    "freeze": freezing.first(18),
}  # tens of thousands of images: settings of `best`, as its docstring says
BUDGETS = {"MNIST": 4.6, "Fashion-MNIST": 4.6}  # minutes for `best`


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the table."""
    options = _options(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    for recipe in options.recipes:
        for name in options.sets:
            for seed in range(options.seeds):
                measure = partial(row, recipe, name, seed, options.data)
                pages.kept(options.work / f"{recipe}-{name}-{seed}.json", measure)
    for name in SETS:
        pages.kept(options.work / f"plain-{name}.json", partial(plain, name, options.data))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, file in DRAWN.items():
        if not (options.out / file).is_file():
            draw(name, options.data).savefig(options.out / file, dpi=120)
    parts = {
        path.stem: json.loads(path.read_text()) for path in sorted(options.work.glob("*.json"))
    }
    text = table(parts)
    print(text)
    record = {"results": parts, "environment": tlkit.experiments.run_folder.environment()}
    (options.out / "recipes.json").write_text(json.dumps(record, indent=1) + "\n")
    pages.insert(PAGE, text)
    pages.insert(Path("README.md"), summary(parts))


def row(recipe: str, name: str, seed: int, folder: Path) -> dict:
    images = image_set(name, folder, seed)
    keras.backend.clear_session()
    looks = ()
    settings = {**(SETS | MORE | SECOND)[name], "seed": seed, "verbose": False}
    chosen = {key: settings.pop(key) for key in ("backbone",) if key in settings}
    made = RECIPES[recipe](**chosen)
    if recipe == "best":
        many = MANY if name in BUDGETS else {}
        looks = changes(name) if name in BUDGETS else ()
        made = recipes.best(augmentation=looks, **many, **chosen)
        settings["budget"] = BUDGETS.get(name)
    trained = made.train(images.train, **settings)
    score = tlkit.evaluate(trained.model, images.test, augmentation=looks)
    backbone = tlkit.models.backbone_of(trained.model)
    started = time.perf_counter()
    tlkit.predict(trained.model, images.test)
    return {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "seconds": trained.seconds,
        "epochs": [phase.num_epochs for phase in trained.run.phases],
        "weights": trained.model.count_params(),
        "reads": backbone.layers[-1].name,
        "chosen": None if trained.choice is None else trained.choice.chosen.name,
        "predict": (time.perf_counter() - started) / len(images.test),
    }


def changes(name: str) -> tuple[keras.layers.Layer, ...]:
    """Return what leaves the class of such images what it is."""
    layers = keras.layers
    shift = layers.RandomTranslation(0.08, 0.08, fill_mode="constant", seed=1)
    if "Fashion" in name:
        return (layers.RandomFlip("horizontal", seed=2), shift)
    turn = layers.RandomRotation(0.03, fill_mode="constant", seed=2)
    return (shift, turn, layers.RandomZoom(0.1, fill_mode="constant", seed=3))


def draw(name: str, folder: Path) -> Figure:
    """Draw what each block of the backbone is worth."""
    images = image_set(name, folder, 0)
    whole = replace(recipes.fast(), features=None).build(images.train, **SETS[name])
    figure = charts.probe_curves(tlkit.probe(whole, images.train))
    figure.suptitle(f"MobileNetV2 of ImageNet, frozen, on {name}", fontsize=10)
    return figure


def plain(name: str, folder: Path) -> dict:
    """Estimate how long plain Keras takes for the user's experiment."""
    images = image_set(name, folder, 0)
    x, y = images.train.images, images.train.labels
    count = min(len(x), 6000 if SETS[name]["image_size"] == 32 else 600)
    few = (x[:count], y[:count])
    model = recipes.mnist_as_described().build(images.train, **SETS[name])
    head, tail = (
        plain_epoch_of(model, 32, select, few) * len(x) / count
        for select in (freezing.everything, freezing.first(100))
    )
    return {"seconds": 10 * head + 5 * tail}


def image_set(name: str, folder: Path, seed: int) -> Split:
    """Return a set; the seed chooses where it is split, or which images of it are taken."""
    random = np.random.default_rng(seed)
    if "digits" in name:
        return tlkit.datasets.digits()
    if "flowers" in name:
        return take_flowers(name, flowers(folder / "flowers227", random), random)
    file = "fashion_mnist.npz" if "Fashion" in name else "mnist.npz"
    images = tlkit.datasets.mnist(folder / file)
    train = replace(images.train, name=name)
    if "1,000" in name:
        train = train.take(random.permutation(len(train))[:1000])
    return replace(images, train=train)


def take_flowers(name: str, images: Split, random: np.random.Generator) -> Split:
    """Return all flowers, or a part: 20 of each class, or 120 of roses and tulips each."""
    classes, count = (["roses", "tulips"], 120) if "2 classes" in name else (None, 20)
    if "2 classes" not in name and "20 a class" not in name:
        return images
    parts = {}
    for part in ("train", "test"):
        data = getattr(images, part)
        kept = [data.class_names.index(each) for each in classes or data.class_names]
        own = [np.flatnonzero(data.labels == label) for label in kept]
        if part == "train":
            own = [random.permutation(index)[:count] for index in own]
        index = np.concatenate(own)
        parts[part] = sources.from_arrays(
            data.images[index],
            np.searchsorted(kept, data.labels[index]),
            class_names=[data.class_names[label] for label in kept],
            name=name,
        )
    return Split(validation=parts["train"].take(slice(0)), **parts)


def flowers(folder: Path, random: np.random.Generator) -> Split:
    """Return the photos, a fifth of each class for the test."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    parts: dict[str, list] = {"train": [], "test": []}
    for label, name in enumerate(names):
        files = np.asarray(sorted((folder / name).iterdir()))
        files = files[random.permutation(len(files))]
        cut = len(files) // 5
        for part, chosen in (("test", files[:cut]), ("train", files[cut:])):
            parts[part] += [(np.asarray(Image.open(file).convert("RGB")), label) for file in chosen]
    made = {}
    for part, pairs in parts.items():
        images, labels = (np.stack(each) for each in zip(*pairs, strict=True))
        made[part] = sources.from_arrays(images, labels, class_names=names, name="flowers")
    return Split(validation=made["train"].take(slice(0)), **made)


def table(parts: dict) -> str:
    lines = [
        "| data | recipe | accuracy, % | s | times faster | reads | weights | ms an image |",
        "|---|---|---:|---:|---:|---|---|---:|",
    ]
    for name in SETS:
        for recipe in RECIPES:
            rows = [part for key, part in parts.items() if key.startswith(f"{recipe}-{name}-")]
            if not rows:
                continue
            seconds = statistics.median(row["seconds"] for row in rows)
            usual = parts.get(f"plain-{name}", {}).get("seconds", math.nan)
            reads = ", ".join(sorted({f"`{row['reads']}`" for row in rows}))
            weights = ", ".join(sorted({f"{row['weights']:,}" for row in rows}))
            milliseconds = 1000 * statistics.median(row["predict"] for row in rows)
            lines.append(
                f"| {name} | `{recipe}` | {interval([100 * row['accuracy'] for row in rows])} | "
                f"{seconds:.0f} | {usual / seconds:.1f} | {reads} | {weights} | "
                f"{milliseconds:.2f} |"
            )
    return "\n".join(lines)


def summary(parts: dict) -> str:
    """Return accuracy and seconds of each recipe, a row for each set of images."""
    lines = [
        "| images | " + " | ".join(HEADINGS[recipe] for recipe in RECIPES) + " | plain Keras |",
        "|---|" + "---|" * (len(RECIPES) + 1),
    ]
    for name in SETS:
        cells = [name]
        for recipe in RECIPES:
            rows = [part for key, part in parts.items() if key.startswith(f"{recipe}-{name}-")]
            accuracy = statistics.mean([100 * row["accuracy"] for row in rows] or [math.nan])
            seconds = statistics.median([row["seconds"] for row in rows] or [math.nan])
            cells.append(f"{accuracy:.1f} %, {seconds:.0f} s" if rows else "")
        usual = parts.get(f"plain-{name}", {}).get("seconds", math.nan)
        lines.append("| " + " | ".join([*cells, f"{usual:.0f} s"]) + " |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    """Return the mean and its 95 % interval over seeds, by Student's t."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    wide = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.2f} ± {wide:.2f}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    work = Path(tempfile.gettempdir()) / "tlkit-recipes"
    parser.add_argument("--work", type=Path, default=work)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
