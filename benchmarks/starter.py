"""Compare the starter with random and with ImageNet weights, on four sets of images at 32x32.

    python benchmarks/starter.py --data path/to/data

Every row is trained by `recipes.few_images`, on 1,000 images, over 5 seeds; the seed chooses the
training images too. A finished part is kept in `--work` and not run again. The figures go to
`--out`, the table into the docs page, the model card and its template (`--pages`). `--data` holds
mnist.npz, fashion_mnist.npz and a flowers227 folder; a set that is not there is left out.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pages
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tlkit
from tlkit import freezing, recipes, sources
from tlkit.data import Split
from tlkit.models import starter
from tlkit.training import trainer

TRAINED_ON = 1000
SEEDS = 5
PAGES = ("docs/explanation/starter.md", "tools/starter/card.md", "src/tlkit/weights/starter.md")
WEIGHTS = {
    "random": {"weights": None, "backbone_options": {"alpha": 0.35}},
    "starter": {"weights": "starter"},
    "ImageNet, alpha 0.35": {"weights": "imagenet", "backbone_options": {"alpha": 0.35}},
    "ImageNet, alpha 1.0": {"weights": "imagenet"},
}
SETS = {
    "digits": "scikit-learn digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "flowers227": "flowers (photos)",
}


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing, then write the table."""
    options = _options(arguments)
    work = options.work / key()
    work.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.sets:
            images = None
            for weights in options.weights:
                path = work / f"{name}-{weights}-{seed}.json"
                if path.is_file():
                    continue
                images = images or load(name, options.data, seed)
                if images is None:
                    break
                written = path.with_suffix(".part")
                written.write_text(json.dumps(one(images, weights, seed)))
                written.replace(path)
                print(f"{path.stem}: {path.read_text()}", flush=True)
    found = results(work, options.seeds)
    text = table(found)
    print(text)
    cells = [found.get(name, {}).get(weights) for name in SETS for weights in WEIGHTS]
    if None in cells or len(options.seeds) < SEEDS:
        print("Nothing written: the table is not complete.")
    else:
        options.out.mkdir(parents=True, exist_ok=True)
        record = {"results": found, "environment": tlkit.experiments.run_folder.environment()}
        (options.out / "starter.json").write_text(json.dumps(record, indent=1) + "\n")
        for page in options.pages:
            pages.insert(page, text)


def one(images: Split, weights: str, seed: int) -> dict[str, float]:
    """Train one classifier; return its test accuracy after each phase."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    recipe = recipes.few_images()
    model = recipe.build(images.train, **WEIGHTS[weights])
    if weights == "random":  # no statistics come with it; without any its output is constant
        pictures = images.train.images
        batches = (pictures[at : at + 128] for at in range(0, len(pictures), 128))
        norms = freezing.find_batchnorm(tlkit.models.backbone_of(model))
        tlkit.training.batchnorm.reestimate(model, norms, batches)
    scores = {}
    for number, name in enumerate(("head", "fine_tune")):
        phase = getattr(recipe, name)
        trainer.train_phase(
            model, phase, images.train, name=name, seed=seed + number, verbose=False
        )
        scores[name] = tlkit.evaluate(model, images.test).accuracy
    return scores


def load(name: str, folder: Path, seed: int) -> Split | None:
    """Return 1,000 training images drawn by the seed, and the test images; None without files."""
    if name == "digits":
        bundled = load_digits()
        return _split(name, bundled.images, bundled.target, seed, value_range=(0, 16))
    if name == "flowers227":
        pairs = list(_photos(folder / name))
        if not pairs:
            return None
        images, labels = zip(*pairs, strict=True)
        classes, numbers = np.unique(labels, return_inverse=True)
        return _split(name, np.stack(images), numbers, seed, class_names=tuple(map(str, classes)))
    path = folder / f"{name}.npz"
    if not path.is_file():
        return None
    whole = tlkit.datasets.mnist(path)
    return replace(_split(name, whole.train.images, whole.train.labels, seed), test=whole.test)


def _split(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    seed: int,
    *,
    class_names: Sequence[str] | None = None,
    value_range: tuple[float, float] = (0, 255),
) -> Split:
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, train_size=TRAINED_ON, stratify=labels, random_state=seed
    )
    settings = {
        "class_names": class_names or [str(number) for number in range(int(labels.max()) + 1)],
        "name": name,
        "value_range": value_range,
    }
    train = sources.from_arrays(x_train, y_train, **settings)
    test = sources.from_arrays(x_test, y_test, **settings)
    return Split(train=train, validation=train.take(slice(0)), test=test)


def _photos(folder: Path) -> Iterator[tuple[np.ndarray, str]]:
    for path in sorted(folder.glob("*/*.jpg")):
        with Image.open(path) as photo:
            yield np.asarray(photo.convert("RGB").resize((32, 32))), path.parent.name


def key() -> str:
    """Return a name for what the results depend on, beside set, weights and seed."""
    recipe = recipes.few_images()
    phases = [
        (phase.epochs, phase.learning_rate, phase.batch_size, phase.batchnorm)
        for phase in (recipe.head, recipe.fine_tune)
    ]
    facts = [starter._SHA256, phases, TRAINED_ON, keras.__version__]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def results(work: Path, seeds: list[int]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return the accuracies where every seed is done: set, weights, phase, one for each seed."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name in SETS:
        for weights in WEIGHTS:
            paths = [work / f"{name}-{weights}-{seed}.json" for seed in seeds]
            if all(path.is_file() for path in paths):
                runs = [json.loads(path.read_text()) for path in paths]
                phases = {phase: [run[phase] for run in runs] for phase in runs[0]}
                found.setdefault(name, {})[weights] = phases
    return found


def table(found: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Return mean and standard deviation over the seeds as a Markdown table."""
    lines = [
        "| test accuracy, % | " + " | ".join(WEIGHTS) + " |",
        "|---|" + "---:|" * len(WEIGHTS),
    ]
    for name, by_weights in found.items():
        for phase, said in (("head", "head only"), ("fine_tune", "two phases")):
            cells = [_cell(by_weights.get(weights, {}).get(phase, [])) for weights in WEIGHTS]
            lines.append(f"| {SETS[name]}, {said} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    percent = 100 * np.array(values)
    spread = f" ± {percent.std(ddof=1):.1f}" if len(percent) > 1 else ""
    return f"{percent.mean():.1f}{spread}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--work", type=Path, default=Path("runs/starter"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--pages", type=Path, nargs="*", default=[*map(Path, PAGES)])
    parser.add_argument("--seeds", type=int, nargs="*", default=range(SEEDS))
    parser.add_argument("--sets", nargs="*", choices=SETS, default=tuple(SETS))
    parser.add_argument("--weights", nargs="*", choices=WEIGHTS, default=tuple(WEIGHTS))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
