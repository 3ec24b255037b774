"""Collect the features of images, from the store or by running the frozen part."""

from contextlib import closing
from dataclasses import dataclass

import numpy as np

from tlkit.caching.feature_folder import FeatureFolder
from tlkit.caching.lookup import Lookup, join
from tlkit.caching.progress import CacheProgress
from tlkit.caching.rows import Rows
from tlkit.caching.source import Source
from tlkit.caching.trunk_runner import BATCH, TrunkRunner
from tlkit.data.digests import digest_pixels
from tlkit.errors import StoreError

_SHARD_BYTES = 32 * 2**20
_SHARD_ROWS = 4096
_MAX_SHARDS = 256
_ATTEMPTS = 3  # at storing features while other processes prune


@dataclass(frozen=True, kw_only=True, eq=False)
class Collected:
    """The features of images, in shards.

    Attributes:
        shards: A list of one array per tensor for each shard.
        order: The row of each image, counted through all shards; None if they are in order.
    """

    shards: list[list[np.ndarray]]
    order: np.ndarray | None = None

    def in_memory(self) -> "Collected":
        """Return the same features as one array per tensor in memory, in order."""
        return Collected(shards=[Rows(self.shards, self.order).arrays()])


def run_all(runner: TrunkRunner, source: Source, rows: int, progress: CacheProgress) -> Collected:
    """Return the features of all images, in memory."""
    collector, done = Collector(source.max_images), 0
    with closing(progress):  # fewer images than the maximum may come
        progress.update(0, source.max_images)
        for chunk in source.read(rows):
            collector.add(runner.run(chunk.images))
            done += len(chunk.images)
            progress.update(done, source.max_images)
    return collector.collected()


# Features are looked up by each image's digest. If the digests are known without reading images, as
# for scanned files and arrays, only the missing images are read and run, in full batches. Otherwise
# all images are read, and the missing ones of each chunk are run. Afterwards the new features are
# looked up too. If another process has pruned them meanwhile, their images are run again.
@dataclass(frozen=True, kw_only=True, eq=False)
class StoredCollection:
    """Collects the features of images from a store, after running those that it lacks.

    Attributes:
        runner: Runs the frozen part on images.
        source: The images.
        lookup: Finds features in the store.
        rows: How many images to run at a time; their features become one shard.
        folder: The folder of the store.
        progress: Shows the progress of the run.
    """

    runner: TrunkRunner
    source: Source
    lookup: Lookup
    rows: int
    folder: FeatureFolder
    progress: CacheProgress

    def collect(self) -> Collected:
        """Return the features of all images.

        Raises:
            StoreError: The store can't be read or written.
        """
        digests = self.source.find_digests()
        streamed = digests is None
        if digests is None:
            digests = self._run_stream()
        elif self.folder.usage is not None:
            self.folder.usage.add(digests)
        found = self.lookup.find(digests)
        for _ in range(_ATTEMPTS):
            missing = np.flatnonzero(found.places < 0)
            if not len(missing):
                return _order_rows(found.shards, found.places)
            if streamed:
                self._run_stream()
            else:
                self._run_rows(digests, missing)
            found = join(found, self.lookup.find(digests[missing]))
        raise StoreError(
            f"'{self.lookup.stored.folder}' loses features as fast as they are stored: another "
            "process may be pruning it."
        )

    def _run_rows(self, digests: np.ndarray, missing: np.ndarray) -> None:
        """Run the images at these indices, equal images only once, and store their features."""
        _, first = np.unique(digests[missing], axis=0, return_index=True)
        indices = missing[np.sort(first)]
        self.folder.make_room(len(indices) * self.runner.row_bytes, self.lookup.entry)
        done = 0
        with closing(self.progress):
            self.progress.update(0, len(indices))
            for images in self.source.read_rows(indices, self.rows):
                self._run(images, digests[indices[done : done + len(images)]])
                done += len(images)
                self.progress.update(done, len(indices))

    def _run_stream(self) -> np.ndarray:
        """Read all images and run those that the store lacks; return the digest of each."""
        count = self.source.max_images
        self.folder.make_room((count or 0) * self.runner.row_bytes, self.lookup.entry)
        found: list[np.ndarray] = []
        with closing(self.progress):
            self.progress.update(0, count)
            for chunk in self.source.read(self.rows):
                found.append(self._run_missing(chunk.images))
                self.progress.update(sum(map(len, found)), count)
        return np.concatenate(found)

    def _run_missing(self, images: np.ndarray) -> np.ndarray:
        """Run the images that the store lacks, equal ones only once; return all digests."""
        digests = digest_pixels(images)
        if self.folder.usage is not None:
            self.folder.usage.add(digests)
        missing = np.flatnonzero(~self.lookup.locate(digests))
        _, first = np.unique(digests[missing], axis=0, return_index=True)
        indices = missing[np.sort(first)]
        if len(indices):
            self._run(images[indices], digests[indices])
        return digests

    def _run(self, images: np.ndarray, digests: np.ndarray) -> None:
        self.lookup.write(digests, self.runner.run(images))
        if self.folder.usage is not None:
            self.folder.usage.add_computed(digests)


def _order_rows(shards: list[list[np.ndarray]], places: np.ndarray) -> Collected:
    total = sum(len(shard[0]) for shard in shards)
    in_order = len(places) == total and (places == np.arange(total)).all()
    return Collected(shards=shards, order=None if in_order else places)


class Collector:
    """Collects features by chunk, in one array per tensor if the number of images is known."""

    def __init__(self, max_images: int | None) -> None:
        self._max_images, self._used = max_images, 0
        self._whole: list[np.ndarray] = []
        self._shards: list[list[np.ndarray]] = []

    def add(self, arrays: list[np.ndarray]) -> None:
        """Add the features of some images."""
        if self._max_images is None:
            self._shards.append(arrays)
            return
        if not self._whole:
            self._whole = [
                np.empty((self._max_images, *each.shape[1:]), each.dtype) for each in arrays
            ]
        end = self._used + len(arrays[0])
        for whole, array in zip(self._whole, arrays, strict=True):
            whole[self._used : end] = array
        self._used = end

    def collected(self) -> Collected:
        """Return all features that were added."""
        shards = self._shards or [[whole[: self._used] for whole in self._whole]]
        return Collected(shards=shards)


def count_shard_rows(row_bytes: int, image_bytes: int, max_images: int | None) -> int:
    """Return how many images make a shard: full batches of the engine, and about 32 MB.

    A run that is interrupted loses at most one shard. There are at most about 256 shards, since
    each is an open file and a process may open about a thousand.
    """
    rows = min(_SHARD_ROWS, _SHARD_BYTES // max(row_bytes, image_bytes))
    rows = max(rows, (max_images or 0) // _MAX_SHARDS)
    return max(rows // BATCH, 1) * BATCH
