"""Measure a head of few images beside simple baselines, on the same frozen features.

    python benchmarks/few_images.py --data path/to/data

The folder is that of `recipes.py`. Features are those of the layer that `fast` reads with all
training images; the classifiers get 1 to 50 images of each class, drawn five times, and are tested
on at most 800 other images. How far deviations are shrunk is decided by training images that are
held out; then the classifiers are compared on test images. Finished parts are kept in `--work`.
"""

import statistics
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pages
import recipes
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

import tlkit
from tlkit.training import linear, solvers

PAGE = Path("docs/decisions/0040-few-images.md")
SETS = ["MNIST, 1,000 images", "Fashion-MNIST, 1,000 images", "flowers, 160 px"]
PER_CLASS = (1, 2, 5, 10, 20, 50)
DRAWS, TESTED = 5, 800
PRIORS = (0, 10, 30, 100, 300, 1_000_000)  # images as if seen with the mean variance
Classify = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
BASELINES: dict[str, Callable[[], Any]] = {
    "nearest class mean": lambda: make_pipeline(StandardScaler(), NearestCentroid()),
    "nearest neighbour, cosine": lambda: KNeighborsClassifier(1, metric="cosine"),
    "LDA, Ledoit-Wolf": lambda: make_pipeline(
        StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    ),
    "logistic regression, unit length": lambda: make_pipeline(
        Normalizer(), LogisticRegression(C=100, max_iter=500)
    ),
}


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the table."""
    options = pages.parser(__doc__, "few_images").parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    rows = {
        name: pages.kept(options.work / f"{name}.json", partial(measure, name, options.data))
        for name in SETS
    }
    pages.publish(PAGE, options.out, rows, table(rows))


def measure(name: str, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return the mean accuracy of each classifier by images a class, by where it was measured."""
    images = recipes.image_set(name, folder, 0)
    model = tlkit.recipes.fast().train(images.train, **(recipes.SETS | recipes.MORE)[name]).model
    test = images.test.take(np.random.default_rng(0).permutation(len(images.test))[:TESTED])
    train = tlkit.embed(model, images.train.images), images.train.labels
    order = np.random.default_rng(1).permutation(len(images.train))
    held_out, rest = order[: len(order) // 4][:TESTED], order[len(order) // 4 :]
    baselines = {each: partial(fit, create) for each, create in BASELINES.items()}
    return {
        "training images held out": measure_all(
            {f"tlkit, {prior:,} more images": partial(solve, prior=prior) for prior in PRIORS},
            *((each[rest] for each in train), (each[held_out] for each in train)),
        ),
        "test images": measure_all(
            {"tlkit": solve, **baselines}, train, (tlkit.embed(model, test.images), test.labels)
        ),
    }


def measure_all(
    classifiers: dict[str, Classify],
    train: Iterable[np.ndarray],
    test: Iterable[np.ndarray],
) -> dict[str, list[float]]:
    """Return the mean accuracy of each classifier by images a class, from features and labels."""
    features, labels = train
    tested, truth = test
    found: dict[str, list[float]] = {each: [] for each in classifiers}
    for count in PER_CLASS:
        for each, classify in classifiers.items():
            scores = []
            for draw in range(DRAWS):
                chosen = draw_images(labels, count, draw)
                predicted = classify(features[chosen], labels[chosen], tested)
                scores.append(float((predicted == truth).mean()))
            found[each].append(statistics.mean(scores))
    return found


def draw_images(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    own = [random.permutation(np.flatnonzero(labels == each))[:count] for each in np.unique(labels)]
    return np.concatenate(own)


def solve(
    features: np.ndarray, labels: np.ndarray, tested: np.ndarray, *, prior: float | None = None
) -> np.ndarray:
    """Return the classes that the head of `fast` predicts, or one that shrinks deviations more."""
    prior = linear._PRIOR if prior is None else prior
    with patch.object(linear, "_PRIOR", prior):
        head = solvers.lbfgs(features, labels, classes=int(labels.max()) + 1, seed=0)
    return head.logits(tested).argmax(axis=1)


def fit(
    create: Callable[[], Any], features: np.ndarray, labels: np.ndarray, tested: np.ndarray
) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return create().fit(features, labels).predict(tested)
        except ValueError:  # LDA needs more images than classes
            return np.full(len(tested), -1)


def table(rows: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Return the accuracy of each classifier by images a class, on each kind of images."""
    parts = next(iter(rows.values()))
    return "\n\n".join(
        f"On {part}:\n\n{format_part({name: found[part] for name, found in rows.items()})}"
        for part in parts
    )


def format_part(rows: dict[str, dict[str, list[float]]]) -> str:
    heading = " | ".join(f"{count}" for count in PER_CLASS)
    lines = [f"| accuracy, %, by images a class | {heading} |", f"|---|{'---:|' * len(PER_CLASS)}"]
    for name, found in rows.items():
        lines.append(f"| **{name}** |{' |' * len(PER_CLASS)}")
        for each, scores in found.items():
            cells = [f"{100 * score:.1f}" if score else "-" for score in scores]
            lines.append(f"| {each} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
