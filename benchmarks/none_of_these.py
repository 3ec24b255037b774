"""Measure how well scores find images of none of the classes.

    python benchmarks/none_of_these.py --data path/to/data --work features

Features are what the head of the recipe `fast` reads. The classifiers are trained without one class
at a time, and have to tell its test images from those of the other classes; classifiers of all
classes have to tell images of another set, and noise. A row shows the area under the ROC curve, and
the share of the images of none of the classes that are kept where 95 % of the others are.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import tlkit
from tlkit import recipes, sources
from tlkit.data import ImageDataset
from tlkit.training import ood_detector, solvers

SCORES = ("max. softmax", "energy", "nearest neighbour", "relative Mahalanobis", "Mahalanobis")
NAMES = ("tlkit", *SCORES)
_TRAIN, _TEST = 6000, 3000
Scorer = dict[str, Callable[[np.ndarray], np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    options = _options(arguments)
    print(f"| images | none of the classes | tlkit | kept | {' | '.join(SCORES)} |")
    print(f"| --- | --- | {' | '.join(['---:'] * (len(NAMES) + 1))} |")
    for weights in ("imagenet", "starter"):
        for name in ("flowers227", "mnist", "fashion_mnist"):
            found = features(options, name, weights)
            for other, rows in compare(found).items():
                cells = [f"{rows[each][0]:.3f} ({100 * rows[each][1]:.0f} %)" for each in NAMES]
                cells.insert(1, f"{100 * rows['kept'][0]:.1f} %")
                print(f"| {name}, {weights} | {other} | {' | '.join(cells)} |", flush=True)


def compare(found: dict[str, np.ndarray]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return area and false positive rate of each score, by what the other images are."""
    labels, tested = found["train_y"], found["test_y"]
    held_out = []
    for label in np.unique(labels):
        score = fit(found["train"][labels != label], labels[labels != label])
        inside, outside = found["test"][tested != label], found["test"][tested == label]
        held_out.append(measure(score, inside, outside))
    mean = {name: np.mean([each[name] for each in held_out], axis=0) for name in held_out[0]}
    rows: dict[str, Any] = {"a class left out, mean": mean}
    score = fit(found["train"], labels)
    for other in sorted(found.keys() - {"train", "train_y", "test", "test_y"}):
        rows[other] = measure(score, found["test"], found[other])
    return rows


def fit(features: np.ndarray, labels: np.ndarray) -> Scorer:
    """Return the scores by name: the higher, the more unlike the training images."""
    _, indices = np.unique(labels, return_inverse=True)
    head = solvers.lbfgs(features, indices, classes=int(indices.max()) + 1, penalty=1e-3)
    detector = ood_detector.fit(features, indices)
    standard = features.std(axis=0) + 1e-6
    neighbours = NearestNeighbors(n_neighbors=1).fit(features / standard)

    def softmax(x: np.ndarray) -> np.ndarray:
        logits = head.logits(x)
        return np.asarray(logsumexp(logits, axis=1) - logits.max(axis=1))

    return {
        "max. softmax": softmax,
        "energy": lambda x: -logsumexp(head.logits(x), axis=1),
        "nearest neighbour": lambda x: neighbours.kneighbors(x / standard)[0][:, 0],
        "relative Mahalanobis": lambda x: detector._measure_each(x)[:, 0],
        "Mahalanobis": lambda x: detector._measure_each(x)[:, :2].sum(axis=1),
        "tlkit": detector.measure,
        "kept": detector.score,
    }


def measure(
    score: Scorer, inside: np.ndarray, outside: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Return the area and the false positive rate of each score, and the share that is kept."""
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    rows = {}
    for name in NAMES:
        near, far = score[name](inside), score[name](outside)
        kept = float((far <= np.quantile(near, 0.95)).mean())
        rows[name] = (float(roc_auc_score(truth, np.concatenate([near, far]))), kept)
    rows["kept"] = (float((score["kept"](inside) <= ood_detector.KEPT).mean()), 0.0)
    return rows


def features(options: argparse.Namespace, name: str, weights: str) -> dict[str, np.ndarray]:
    """Return features and labels, from the work folder if it has them."""
    file = options.work / f"{name}-{weights}.npz"
    if not file.exists():
        train, test, others, size = _images(options.data, name)
        model = recipes.fast().build(train, image_size=size, weights=weights)
        found = {"train_y": train.labels, "test_y": test.labels}
        others |= {"train": train.images, "test": test.images}
        found |= {key: tlkit.evaluation.embed(model, images) for key, images in others.items()}
        options.work.mkdir(parents=True, exist_ok=True)
        np.savez(file, **found)
    with np.load(file) as stored:
        return {
            key: stored[key][: _TRAIN if key.startswith("train") else _TEST] for key in stored.files
        }


def _images(data: Path, name: str) -> tuple[ImageDataset, ImageDataset, dict[str, Any], int]:
    if name == "flowers227":
        photos = sources.from_folder(data / name, image_size=160)
        split = tlkit.splits.split(photos, test=0.3, duplicates="together", seed=0)
        return split.train, split.test, {"noise": _noise((160, 160, 3))}, 160
    parts = tlkit.datasets.mnist(data / f"{name}.npz")
    other = "fashion_mnist" if name == "mnist" else "mnist"
    others = tlkit.datasets.mnist(data / f"{other}.npz").test.images[:_TEST]
    return (
        parts.train.take(np.arange(_TRAIN)),
        parts.test.take(np.arange(_TEST)),
        {other: others, "noise": _noise((28, 28))},
        32,
    )


def _noise(shape: tuple[int, ...], count: int = 500) -> np.ndarray:
    """Return white noise, and noise blurred to blobs that fill the range."""
    random = np.random.default_rng(0)
    sigma = (0, shape[0] / 16, shape[0] / 16, 0)[: len(shape) + 1]
    blobs = gaussian_filter(random.normal(size=(count // 2, *shape)), sigma)
    low, high = (f(blobs, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    white = random.integers(0, 256, (count // 2, *shape), "uint8")
    return np.concatenate([white, (255 * (blobs - low) / (high - low)).astype("uint8")])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder; see README.md")
    parser.add_argument("--work", type=Path, required=True, help="a folder for features")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
