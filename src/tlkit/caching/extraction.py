"""Extract the features of all images by running a frozen trunk over them once."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import keras
import numpy as np

from tlkit._internal import system
from tlkit.caching import collection
from tlkit.caching.batching import FeatureDataset
from tlkit.caching.cache import Cache, TrunkRun
from tlkit.caching.collection import Collected, StoredCollection
from tlkit.caching.feature_folder import FeatureFolder
from tlkit.caching.partition import Cut
from tlkit.caching.progress import CacheProgress
from tlkit.caching.rows import Rows
from tlkit.caching.runner import Runner
from tlkit.caching.source import Source
from tlkit.data import batches, chunks
from tlkit.errors import DataError, StoreError


@dataclass(frozen=True, kw_only=True, eq=False)
class _Extracted:
    """The features of one set of images in each view, and the images' labels."""

    views: list[Collected]
    labels: np.ndarray
    weights: np.ndarray | None
    batch_size: int | None  # of a dataset of batches; None for arrays

    @property
    def on_disk(self) -> bool:
        arrays = (array for view in self.views for shard in view.shards for array in shard)
        return any(isinstance(array, np.memmap) for array in arrays)


class Extraction:
    """Runs a frozen trunk once over each set of images, for several cuts of a model.

    Args:
        model: The classifier.
        cuts: The cuts of the classifier.
        cache: The engine, and where to store the features.
        augmentation: Layers that augment the training images for each view.
        progress: Prints where features are stored, and shows the progress.
    """

    def __init__(
        self,
        model: keras.Model,
        cuts: Sequence[Cut],
        cache: Cache,
        *,
        augmentation: Sequence[keras.layers.Layer] = (),
        progress: CacheProgress | None = None,
    ) -> None:
        self._cache, self._progress = cache, progress or CacheProgress(verbose=False)
        self._rank = len(model.inputs[0].shape)
        self._runner = Runner(model, cuts, cache, augmentation=augmentation)
        self._folder = FeatureFolder(cache)
        limit = cache.memory_limit
        self._room = system.free_memory() // 2 if limit is None else limit
        self._extracted: dict[str, _Extracted] = {}
        self._images = 0
        self._seconds = 0.0

    def extract(
        self, cut: Cut, name: str, data: batches.Inputs, *, batch_size: int
    ) -> FeatureDataset:
        """Return the features of all images at one of the cuts; the first call runs the trunk.

        Args:
            cut: One of the cuts.
            name: "train" or "validation"; only training images are augmented.
            data: The images and labels.
            batch_size: The number of images per step, for arrays; a dataset keeps its own batches.

        Raises:
            DataError: A dataset's batches differ in size.
            EngineError: The engine can't run the trunk, or its numbers differ from those of Keras.
            StoreError: The disk has too little free space.
        """
        if name not in self._extracted:
            started, ran = time.perf_counter(), self._runner.num_computed
            self._extracted[name] = self._collect(data, name)
            seconds = time.perf_counter() - started
            self._seconds += seconds
            ran = self._runner.num_computed - ran
            count = sum(len(self._extracted[name].labels) for _ in self._extracted[name].views)
            self._images += count
            self._progress.print(
                f"{name}: ran {ran:,} of {count:,} by {self._runner.describe_engine()}, "
                f"in {seconds:.1f} s"
            )
        extracted = self._extracted[name]
        places = [self._runner.outputs.index(tensor) for tensor in cut.tensors]
        return FeatureDataset(
            views=tuple(
                Rows([[shard[place] for place in places] for shard in view.shards], view.order)
                for view in extracted.views
            ),
            labels=extracted.labels,
            weights=extracted.weights,
            batch_size=extracted.batch_size or batch_size,
            shuffle=extracted.batch_size is None,
        )

    def summarize(self, cut: Cut) -> TrunkRun:
        """Return a summary of how the trunk was run."""
        return TrunkRun(
            cut_reason=cut.reason,
            engine=self._runner.engine,
            engine_error=self._runner.engine_error,
            num_images=self._images,
            num_computed=self._runner.num_computed,
            num_bytes=self._images * self._runner.row_bytes,
            on_disk=any(extracted.on_disk for extracted in self._extracted.values()),
            seconds=self._seconds,
            float16_error=self._runner.float16_error,
            disabled_layers=cut.disabled_layers,
        )

    def close(self) -> None:
        """Release the features; temporary ones on disk are deleted."""
        self._extracted.clear()
        self._folder.close()

    def _collect(self, data: batches.Inputs, name: str) -> _Extracted:
        views = self._runner.views if name == "train" else 1
        max_images = chunks.max_images(data)
        on_disk = self._choose_disk(name, max_images, views)
        num_bytes = (max_images or 0) * views * self._runner.row_bytes if on_disk else None
        self._folder.require(num_bytes)
        try:
            return self._collect_in_folder(data, name, on_disk=on_disk)
        except StoreError as error:
            if self._folder.is_temporary:
                raise
            self._progress.print(f"features are not stored for later: {error}")
            self._folder.give_up(error, num_bytes)
            return self._collect_in_folder(data, name, on_disk=on_disk)

    def _collect_in_folder(self, data: batches.Inputs, name: str, *, on_disk: bool) -> _Extracted:
        if name == "train" and self._runner.is_random:
            return self._collect_copies(data, on_disk=on_disk)
        source = Source(data, rank=self._rank)
        rows = collection.count_shard_rows(
            self._runner.row_bytes, source.image_bytes, source.max_images
        )
        runner = self._runner.images
        runner.expect(source.max_images)
        if self._folder.store is None:
            found = collection.run_all(runner, source, rows, self._progress)
        else:
            lookup = runner.open_lookup(
                self._folder.store, source.first, source.read_sample, source.find_digests()
            )
            found = StoredCollection(
                runner=runner,
                source=source,
                lookup=lookup,
                rows=rows,
                folder=self._folder,
                progress=self._progress,
            ).collect()
            if not on_disk:
                found = found.in_memory()
                lookup.release_pages()
        return _Extracted(
            views=[found],
            labels=source.labels,
            weights=source.weights,
            batch_size=None if batches.is_arrays(data) else _check_sizes(source.sizes, name),
        )

    def _collect_copies(self, data: batches.Inputs, *, on_disk: bool) -> _Extracted:
        """Return the features of augmented copies, which are stored by chunk, not by image."""
        source = Source(data, rank=self._rank)
        max_images, entry = source.max_images, None
        self._runner.copies.expect(None if max_images is None else max_images * self._runner.views)
        if self._folder.store is not None:
            first, read = source.first, source.read_sample
            entry = self._runner.copies.open_lookup(self._folder.store, first, read).entry
            wanted = (max_images or 0) * self._runner.views * self._runner.row_bytes
            self._folder.make_room(wanted, entry)
        row_bytes = self._runner.row_bytes
        rows = collection.count_shard_rows(row_bytes, source.image_bytes, max_images)
        collectors = [
            collection.Collector(None if on_disk else max_images) for _ in range(self._runner.views)
        ]
        done, total = 0, None if max_images is None else max_images * self._runner.views
        with closing(self._progress):
            self._progress.update(0, total)
            for number, chunk in enumerate(source.read(rows)):
                for view, collector in enumerate(collectors):
                    place = (view, number)
                    collector.add(self._runner.run_copies(chunk.images, entry, place=place))
                    done += len(chunk.images)
                    self._progress.update(done, total)
        return _Extracted(
            views=[collector.collected() for collector in collectors],
            labels=source.labels,
            weights=source.weights,
            batch_size=None if batches.is_arrays(data) else _check_sizes(source.sizes, "train"),
        )

    def _choose_disk(self, name: str, max_images: int | None, views: int) -> bool:
        """Return whether the features must be stored on disk; prints how much space they need."""
        row_bytes = self._runner.row_bytes
        if max_images is None:
            self._progress.print(
                f"{name}: stores {row_bytes:,} bytes per image on disk; their number is unknown"
            )
            return True
        total = max_images * views * row_bytes
        on_disk = total > self._room
        where = "on disk" if on_disk else "in memory"
        copies = f" in {views} views" if views > 1 else ""
        self._progress.print(
            f"{name}: stores {row_bytes:,} bytes for each of {max_images:,} images{copies}, "
            f"{total / 1e6:,.1f} MB {where}"
        )
        if not on_disk:
            self._room -= total
        return on_disk


def _check_sizes(sizes: Sequence[int], name: str) -> int:
    if any(size != sizes[0] for size in sizes[:-1]) or sizes[-1] > sizes[0]:
        raise DataError(
            f"`{name}` must have batches of one size to be cached, got sizes from {min(sizes)} to "
            f"{max(sizes)}. Batch it evenly, or train with cache=None."
        )
    return sizes[0]
