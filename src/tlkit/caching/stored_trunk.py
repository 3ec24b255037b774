"""A frozen model that runs only on images whose features are not in the store."""

from typing import Any

import numpy as np

from tlkit.caching import collection
from tlkit.caching.feature_folder import FeatureFolder
from tlkit.caching.progress import CacheProgress
from tlkit.caching.source import Source
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.errors import StoreError


class StoredTrunk:
    """Returns the features of images like an engine, reading stored features where possible.

    Args:
        runner: Runs the frozen model; its cache states where features are stored.
        rank: The number of axes of the model's input.
        num_images: About how many images will be run in total; None counts only the first call.
        progress: Shows the progress of a run.
    """

    def __init__(
        self,
        runner: TrunkRunner,
        *,
        rank: int,
        num_images: int | None = None,
        progress: CacheProgress | None = None,
    ) -> None:
        self._runner, self._rank = runner, rank
        self._num_images, self._progress = num_images, progress or CacheProgress(verbose=False)
        self._folder = FeatureFolder(runner.cache)
        self._lookup: Any = None

    @property
    def name(self) -> str:
        """The name of the engine."""
        return self._runner.engine.split()[0]

    def describe(self) -> str:
        """Return the engine with its version, and its speed relative to Keras if it was timed."""
        return self._runner.describe_engine()

    def run(self, images: Any) -> list[np.ndarray]:
        """Return the features of images, in memory.

        Args:
            images: An array, or images that are read when they are indexed; images whose features
                are stored are not read.
        """
        source = self._open(images)
        try:
            if self._folder.store is not None:
                found = self._collect(source).in_memory().shards[0]
                self._lookup.release_pages()
                return found
        except StoreError as error:
            self._folder.give_up(error, None)
        return collection.run_all(
            self._runner, source, self._count_rows(source), self._progress
        ).shards[0]

    def store(self, images: Any) -> None:
        """Run the images whose features are not stored yet, and store them if there is a store.

        Args:
            images: As for `run`.
        """
        source = self._open(images)
        try:
            if self._folder.store is not None:
                self._collect(source)
                self._lookup.release_pages()
        except StoreError as error:
            self._folder.give_up(error, None)

    def _open(self, images: Any) -> Source:
        self._runner.expect(max(len(images), self._num_images or 0))
        return Source((images, np.zeros(len(images), "int8")), rank=self._rank)

    def _count_rows(self, source: Source) -> int:
        return collection.count_shard_rows(
            self._runner.row_bytes, source.image_bytes, source.max_images or 0
        )

    def _collect(self, source: Source) -> collection.Collected:
        if self._lookup is None and self._folder.store is not None:
            self._lookup = self._runner.open_lookup(
                self._folder.store, source.first, source.read_sample, source.find_digests()
            )
        return collection.StoredCollection(
            runner=self._runner,
            source=source,
            lookup=self._lookup,
            rows=self._count_rows(source),
            folder=self._folder,
            progress=self._progress,
        ).collect()
