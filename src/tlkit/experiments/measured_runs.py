"""Keep the measurements of a comparison's runs in a folder, so that a stopped one goes on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tlkit
from tlkit.data.splits import Split
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.split_csv import list_digests
from tlkit.training.checkpoint_files import CheckpointFolder
from tlkit.training.identity import describe_value

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
    recipe's settings, seed, images, arguments, and the versions of tlkit, Keras and its backend.
    With other settings no measurement is found, so none is taken for another.

    Args:
        folder: Where to keep them; None keeps none.
        how: The arguments of `Recipe.train` that change results, the same for all runs.
    """

    def __init__(self, folder: str | Path | None, how: Mapping[str, Any]) -> None:
        self._folder, self._how = None if folder is None else Path(folder), how
        self._splits: dict[int, str] = {}

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
            **{name: _describe_file(value) for name, value in settings.items()},
            **{name: _describe_file(value) for name, value in self._how.items()},
            "seed": seed,
            "images": self._describe_images(split),
            "versions": [tlkit.__version__, keras.__version__, keras.backend.backend()],
        }
        digest = hashlib.sha256(describe_value(facts).encode()).hexdigest()[:_DIGITS]
        return CheckpointFolder(folder / f"run-{digest}")

    def _describe_images(self, split: Split) -> str:
        """Return a digest of all images and labels of a split that a comparison uses."""
        if id(split) not in self._splits:
            parts = [[list_digests(part), part.labels] for part in (split.train, split.test)]
            text = describe_value([split.train.class_names, parts])
            self._splits[id(split)] = hashlib.sha256(text.encode()).hexdigest()
        return self._splits[id(split)]


def _describe_file(value: Any) -> Any:
    """Return a setting, with the size and time of the file that it names, or a model's weights."""
    if isinstance(value, keras.Model):
        weights = [hashlib.sha256(each.tobytes()).hexdigest() for each in value.get_weights()]
        return [value.to_json(), weights]
    if isinstance(value, str | Path) and Path(value).is_file():
        about = Path(value).stat()
        return [str(value), about.st_size, about.st_mtime_ns]
    return value
