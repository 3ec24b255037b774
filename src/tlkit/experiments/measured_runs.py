"""Keep the measurements of a comparison's runs in a folder, so that a stopped one goes on."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tlkit
from tlkit._internal.backends import package_versions
from tlkit.caching.cache import Cache
from tlkit.data.digests import digest_pixels
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.split_csv import list_digests
from tlkit.training.checkpoint_files import CheckpointFolder
from tlkit.training.identity import describe_source, describe_value

_DIGITS = 16  # of a run's digest, its folder's name


@dataclass(frozen=True)
class MeasuredRun:
    """The measurements of one run.

    Attributes:
        values: The measurements by name.
        correct: Whether each test image is classified correctly.
        seconds: The time for training and evaluating.
    """

    values: Mapping[str, float | None]
    correct: np.ndarray
    seconds: float


class MeasuredRuns:
    """The measurements of finished runs, in a folder or nowhere.

    Each run has a folder of its own, whose name is a digest of all that determines the run: the
    recipe's settings, seed, images as they are decoded, arguments, and the versions of tlkit, Keras
    and its backend. With other settings no measurement is found, so none is taken for another.

    Args:
        folder: Where to keep them; None keeps none.
        how: The arguments of `Recipe.train` that change results, the same for all runs.
        cache: The cache of all runs.
    """

    def __init__(
        self, folder: str | Path | None, how: Mapping[str, Any], *, cache: Cache | None = None
    ) -> None:
        self._folder = None if folder is None else Path(folder)
        self._how = {**how, "cache": None if cache is None else _drop_places(cache)}
        self._splits: dict[int, tuple[Split, str]] = {}

    def check(self, recipes: Iterable[Recipe]) -> None:
        """Check that all settings of recipes can be described, if measurements are kept.

        Raises:
            ConfigError: A recipe has callbacks, of which nothing tells what they do.
        """
        for recipe in recipes if self._folder is not None else ():
            phases = (recipe.head, recipe.fine_tune)
            if any(phase is not None and phase.callbacks for phase in phases):
                raise ConfigError(
                    Argument("folder"),
                    f" must be None if a recipe has callbacks, as {recipe.name!r} has: whether "
                    "they are those of an earlier call can't be told.",
                )

    def read(self, recipe: Recipe, split: Split, seed: int) -> MeasuredRun | None:
        """Return the measurements of a run; None if it has not been measured.

        Raises:
            StoreError: They are damaged.
        """
        if self._folder is None:
            return None
        state = self._open(self._folder, recipe, split, seed).load()
        if state is None:
            return None
        return MeasuredRun(state.values["values"], state.arrays["correct"], state.values["seconds"])

    def write(self, recipe: Recipe, split: Split, seed: int, found: MeasuredRun) -> None:
        """Keep the measurements of a run.

        Raises:
            StoreError: They can't be written.
        """
        if self._folder is not None:
            values = {"values": dict(found.values), "seconds": found.seconds}
            place = self._open(self._folder, recipe, split, seed)
            place.save(values, {"correct": np.asarray(found.correct)})

    def _open(self, folder: Path, recipe: Recipe, split: Split, seed: int) -> CheckpointFolder:
        settings = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
        facts = {
            **{name: describe_source(value) for name, value in settings.items()},
            **{name: describe_source(value) for name, value in self._how.items()},
            "seed": seed,
            "images": self._describe_images(split),
            "versions": {
                "tlkit": tlkit.__version__,
                **package_versions("keras", keras.backend.backend()),
            },
        }
        digest = hashlib.sha256(describe_value(facts).encode()).hexdigest()[:_DIGITS]
        return CheckpointFolder(folder / f"run-{digest}")

    def _describe_images(self, split: Split) -> str:
        """Return a digest of all images and labels of a split that a comparison uses."""
        if id(split) not in self._splits:
            parts = [_list_content(part) for part in (split.train, split.test)]
            text = describe_value([split.train.class_names, parts])
            self._splits[id(split)] = split, hashlib.sha256(text.encode()).hexdigest()
        return self._splits[id(split)][1]


def _drop_places(cache: Cache) -> Cache:
    """Return a cache with only the settings that change results."""
    return replace(cache, folder=None, memory_limit=None, usage=None, engines=None)


def _list_content(part: ImageDataset) -> list[Any]:
    """Return the pixels and labels of images, and what a model is told of the pixels."""
    images = part.images
    digests = digest_pixels(images) if isinstance(images, np.ndarray) else images.digests
    if digests is None:  # of images that must be read to be known
        digests = [list_digests(part), images.shape[1:]]
    return [digests, part.labels, part.value_range]
