"""Compare tlkit's logistic regression with scikit-learn's on the work of a probe and a solved head.

    python benchmarks/solvers.py                          # about ten minutes
    python benchmarks/solvers.py --only probe             # one set of features
    python benchmarks/solvers.py --data path/to/mnist.npz # what `fast` reads of MNIST

Both sides standardise the features, choose the penalty among the same ones on the same held-out
images, each solution starting from the last, and solve once more on all images. scikit-learn stops
by the size of the gradient (`tol`), tlkit by the progress of the loss; so scikit-learn runs at
several tolerances, and held-out loss and accuracy say which of them is as good. The sides take
turns in one process; a row has each side's median. Synthetic features mislead: on those of real
images a loose tolerance costs accuracy. Seconds are processor time: with one thread
(OPENBLAS_NUM_THREADS=1) they don't depend on what else the machine does. Nothing is chosen on the
test images.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import tlkit
from tlkit.training import linear, samples, solvers

TOLERANCES = (1e-3, 3e-4, 1e-4)  # the last is scikit-learn's default
SHAPES = {"probe": (5_000, 512, 10), "mnist": (60_000, 512, 10), "photos": (1_000, 1_280, 5)}
Features = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Solve = Callable[[np.ndarray, np.ndarray, int], linear.Linear]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each side on each set of features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*SHAPES, "digits"])
    parser.add_argument("--data", type=Path, help="an mnist.npz, to measure its features alone")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    print("| features | solver | seconds | ratio | penalty | test loss | test accuracy |")
    print("|---|---|---:|---:|---:|---:|---:|")
    if options.data:
        compare("MNIST", mnist(options.data), repeats=options.repeats)
        return
    for name in [options.only] if options.only else [*SHAPES, "digits"]:
        features = digits() if name == "digits" else synthetic(*SHAPES[name])
        compare(name, features, repeats=options.repeats)


def compare(name: str, features: Features, *, repeats: int) -> None:
    """Run the sides in turns, and print their rows."""
    images, labels, test_images, test_labels = features
    classes = int(labels.max()) + 1
    sides: dict[str, Solve] = {"tlkit": own}
    sides |= {f"scikit-learn, tol={tol:g}": peer(tol) for tol in TOLERANCES}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    found = {}
    for _ in range(repeats):
        for side, solve in sides.items():
            started = time.process_time()
            found[side] = solve(images, labels, classes)
            seconds[side].append(time.process_time() - started)
    base = statistics.median(seconds["tlkit"])
    about = f"{name}: {len(images):,} x {images.shape[1]:,}, {classes} classes"
    for side, result in found.items():
        middle = statistics.median(seconds[side])
        print(
            f"| {about} | {side} | {middle:.2f} | {middle / base:.2f} | {result.penalty:.1e} | "
            f"{result.loss(test_images, test_labels):.4f} | "
            f"{100 * result.accuracy(test_images, test_labels):.2f} % |",
            flush=True,
        )


def own(features: np.ndarray, labels: np.ndarray, classes: int) -> linear.Linear:
    """Solve with tlkit."""
    return solvers.lbfgs(features, labels, classes=classes, seed=0)


def peer(tol: float) -> Solve:
    """Return the same work by scikit-learn: its scaler, and one regression that is warm-started."""

    def solve(features: np.ndarray, labels: np.ndarray, classes: int) -> linear.Linear:
        scaler = StandardScaler().fit(features)
        standard = scaler.transform(features)
        parts = [
            (fitted[: samples._MAX_CHOICE], part[: samples._MAX_CHOICE])
            for fitted, part in samples._split(len(labels), 0)
        ]
        models = [_regression(tol) for _ in parts]
        tried = []
        for penalty in sorted(linear.PENALTIES, reverse=True):
            losses = []
            for model, (fitted, part) in zip(models, parts, strict=True):
                _fit(model, standard[fitted], labels[fitted], penalty)
                logits = standard[part] @ model.coef_.T + model.intercept_
                losses.append(linear.cross_entropy(logits, labels[part]))
            loss = float(np.average(losses, weights=[len(part) for _, part in parts]))
            tried.append((loss, penalty, models[0].coef_.copy(), models[0].intercept_.copy()))
            if loss > 1.05 * min(each[0] for each in tried):
                break
        _, penalty, coefficients, intercept = min(tried, key=lambda each: each[0])
        penalty *= len(parts[0][0]) / len(labels)
        final = models[0]
        final.coef_, final.intercept_ = coefficients, intercept
        _fit(final, standard, labels, penalty)
        return linear.fold_scaling(
            final.coef_.T, final.intercept_, scaler.mean_, scaler.scale_, penalty
        )

    return solve


def _regression(tol: float) -> LogisticRegression:
    return LogisticRegression(solver="lbfgs", warm_start=True, tol=tol, max_iter=200)


def _fit(model: LogisticRegression, x: np.ndarray, y: np.ndarray, penalty: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.set_params(C=1 / (penalty * len(y))).fit(x, y)


def synthetic(count: int, size: int, classes: int) -> Features:
    """Return features as rectified and correlated as a backbone's, half as many again to test."""
    random = np.random.default_rng(0)
    total = count + count // 2
    labels = random.integers(0, classes, total)
    factors = random.normal(size=(total, 40)) + 0.6 * random.normal(size=(classes, 40))[labels]
    mixed = factors @ random.normal(size=(40, size)) / np.sqrt(40)
    features = np.maximum(mixed + random.normal(size=(total, size)), 0).astype("float32")
    return features[:count], labels[:count], features[count:], labels[count:]


def mnist(path: Path) -> Features:
    """Return what the head of the recipe `fast` reads of MNIST."""
    data = tlkit.datasets.mnist(path)
    model = tlkit.recipes.fast().build(data.train)
    before = keras.Model(model.inputs, model.get_layer("logits").input)
    train, test = (before.predict(part.images, verbose=0) for part in (data.train, data.test))
    return train, data.train.labels, test, data.test.labels


def digits() -> Features:
    """Return what a head on the starter backbone reads of scikit-learn's digits."""
    data = tlkit.datasets.digits()
    model = tlkit.build_classifier(
        "mobilenet_v2",
        10,
        weights="starter",
        input_shape=(8, 8, 1),
        value_range=data.train.value_range,
        features="block_5_add",
        seed=0,
    )
    before = keras.Model(model.inputs, model.get_layer("logits").input)
    train, test = (before.predict(part.images, verbose=0) for part in (data.train, data.test))
    return train, data.train.labels, test, data.test.labels


if __name__ == "__main__":
    main()
