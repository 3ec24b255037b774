"""Small images, and a small classifier of them, that many test files use."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import pytest

import tlkit
from tlkit._internal.optional import installed
from tlkit.deployment import Proof, formats

PROOF = Proof(
    num_images=0,
    num_pictures=0,
    largest_difference=0,
    tolerance=1e-4,
    agreement=1,
    num_different=0,
    score_difference=None,
    comparison=None,
    max_drop=None,
    megabytes=0,
    start_seconds=0,
    milliseconds={"1": 0, "32": 0},
)


def make_noise(
    count: int = 24, shape: tuple[int, ...] = (9, 9, 1), *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return images of noise, and labels of three classes in turn."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, *shape), "uint8"), np.arange(count) % 3


def make_stripes(
    count: int, shape: tuple[int, ...] = (9, 9, 1), *, contrast: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return dark noise with a brighter stripe at the height that the label says, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 80, (count, *shape), "uint8")
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 3] += contrast
    return images, labels


class SilentBar:
    """A progress bar that only notes whether it was closed.

    Attributes:
        title: The text before the bar.
        is_closed: Whether it was closed.
    """

    def __init__(self, title: str) -> None:
        self.title, self.is_closed = title, False

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show nothing."""

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


def small_classifier(backbone: keras.Model, *, classes: int = 3, **settings: object) -> keras.Model:
    """Return a classifier of grey images of 9 x 9 pixels into three classes, unless told."""
    settings = {"input_shape": (9, 9, 1), "pixels": (0, 1), "seed": 0, **settings}
    return tlkit.build_classifier(backbone, classes, **settings)


def skip_without(name: str, *others: str) -> None:
    """Skip the test if a package is missing that an export format, or the test, needs."""
    for package in (*formats.get(name).NEEDS, *others):
        if not installed(package):
            pytest.skip(f"{package} is not installed")


class TickingClock:
    """Stands for the module `time`: every look at the clock takes the same time."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now


@contextmanager
def run_until_killed(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process that is killed at the end of the block, however that ends."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def seeded_classifier() -> keras.Model:
    """Return a classifier of two convolutions with BatchNormalization, the same in each process."""
    keras.utils.set_random_seed(0)
    image = keras.Input((9, 9, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="top")(x)
    x = keras.layers.BatchNormalization(name="top_bn")(x)
    return small_classifier(keras.Model(image, x, name="small"))
