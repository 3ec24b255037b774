"""The checkpoints of a recipe: the result of the probe, the time, and the state of the training."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal.temporaries import temporary_folder
from tlkit.caching.cache import Cache
from tlkit.data.image_dataset import ImageDataset
from tlkit.evaluation.candidates import Choice
from tlkit.evaluation.probing.linear_probe import SAMPLE
from tlkit.training import checkpoints
from tlkit.training.checkpoint_files import CheckpointFolder
from tlkit.training.phase import Phase
from tlkit.training.records import Run


# The folder holds notes (the result of the probe, and how long building took) and the states of the
# trainer. With a budget each phase is trained separately, in a folder of its own.
@dataclass(frozen=True)
class RecipeCheckpoint:
    """The checkpoints of a recipe.

    Attributes:
        folder: The folder of the checkpoints; None stores nothing.
    """

    folder: str | Path | None

    def of(self, phase: str) -> Path | None:
        """Return the folder of a phase that is trained separately."""
        return None if self.folder is None else Path(self.folder) / phase

    @contextmanager
    def share_features(self, cache: Cache | None, num_images: int) -> Iterator[Cache | None]:
        """Yield a cache with which the probe, all trials and all phases share features.

        A cache without a folder gets one in this folder. Without checkpoints it gets a temporary
        folder, if there are so few images that the probe reads all of them: otherwise the probe,
        each trial and each phase would compute the same features again.

        Args:
            cache: The cache of the training; None is yielded unchanged.
            num_images: The number of training images.
        """
        if cache is None:
            yield None
            return
        if cache.engines is None:
            cache = replace(cache, engines={})
        if cache.folder is None and self.folder is not None:
            cache = replace(cache, folder=Path(self.folder) / "features")
        if cache.folder is not None or num_images > SAMPLE or cache.views > 1:
            yield cache
            return
        with temporary_folder() as folder:
            yield replace(cache, folder=folder / "features")

    def read_seconds(self) -> float:
        """Return how long earlier processes worked on the results that are stored."""
        if self.folder is None:
            return 0.0
        folder = Path(self.folder)
        parts = [folder, folder / "head", folder / "fine_tune", *folder.glob("trial-*")]
        built = CheckpointFolder(self.folder).read_notes().get("seconds", 0.0)
        phases = sum(checkpoints.read_finished(CheckpointFolder(part))[1] for part in parts)
        return phases + (built if isinstance(built, float) else 0.0)

    def write_seconds(self, seconds: float) -> None:
        """Store how long building took, unless an earlier process stored it."""
        if self.folder is not None:
            folder = CheckpointFolder(self.folder)
            folder.write_notes({"seconds": seconds, **folder.read_notes()})


def keep_features(
    features: Any, recipe: str, data: ImageDataset, checkpoint: str | Path | None
) -> Any:
    """Return a function that selects features, stores its result and reads it the next time."""
    if checkpoint is None or not callable(features):
        return features
    folder = CheckpointFolder(checkpoint)
    labels = hashlib.sha256(np.asarray(data.labels).tobytes()).hexdigest()
    key = [recipe, *data.images.shape, labels]

    def select(model: keras.Model) -> Any:
        notes = folder.read_notes()
        if notes.get("probed") != key:
            layers, pooling = features(model)
            notes |= {"probed": key, "layers": list(layers), "pooling": list(pooling)}
            folder.write_notes(notes)
        return notes["layers"], notes["pooling"]

    return select


def find_end(run: Run, fine_tune: Phase | None, choice: Choice | None) -> str | None:
    """Return at which point of a training its budget ran out; None if it did not."""
    last = run.phases[-1]
    chosen = choice is not None and len(choice.candidates) > 1
    if fine_tune is not None and last.name == "head" and not chosen:
        return "before fine-tuning, of which not one epoch would have fitted"
    if last.out_of_time:
        return f"in epoch {last.num_epochs} of {last.name!r}"
    return None
