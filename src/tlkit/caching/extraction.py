"""Extract the features of all images by running a frozen trunk over them once."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkit._internal import files, system
from tlkit.caching import store
from tlkit.caching.batching import FeatureDataset
from tlkit.caching.cache import Cache, TrunkRun
from tlkit.caching.partition import Cut
from tlkit.caching.progress import CacheProgress
from tlkit.caching.rows import Rows
from tlkit.caching.runner import BATCH, Runner
from tlkit.data import batches, chunks
from tlkit.errors import DataError

_SHARD_BYTES = 32 * 2**20
_SHARD_ROWS = 4096
_MAX_SHARDS = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class _Extracted:
    """The features of one set of images, as a list of shards for each view, and their labels."""

    views: list[list[list[np.ndarray]]]
    labels: np.ndarray
    weights: np.ndarray | None
    batch_size: int | None  # of a dataset; None for arrays

    @property
    def on_disk(self) -> bool:
        arrays = (array for view in self.views for shard in view for array in shard)
        return any(isinstance(array, np.memmap) for array in arrays)


class Extraction:
    """Runs a frozen trunk once over each set of images, for several cuts of a model.

    Args:
        model: The classifier.
        cuts: Where it is cut.
        cache: How to run and store.
        augmentation: Layers that augment the training images, for each view of them.
        progress: Prints what is stored where, and shows how far the run is.
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
        limit = cache.memory_limit
        self._room = system.free_memory() // 2 if limit is None else limit
        self._extracted: dict[str, _Extracted] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._images = 0
        self._seconds = 0.0

    def extract(
        self, cut: Cut, name: str, data: batches.Inputs, *, batch_size: int
    ) -> FeatureDataset:
        """Return what crosses one of the cuts for all images; runs the trunk the first time.

        Args:
            cut: One of the cuts.
            name: "train" or "validation"; only training images are augmented.
            data: The images and labels.
            batch_size: Images per step, for arrays; a dataset has its own batches.

        Raises:
            DataError: A dataset's batches differ in size.
            EngineError: The engine can't run the trunk, or its numbers differ from those of Keras.
            StoreError: There is not enough room on the disk.
        """
        if name not in self._extracted:
            started, ran = time.perf_counter(), self._runner.num_computed
            self._extracted[name] = self._collect(data, name)
            seconds = time.perf_counter() - started
            self._seconds += seconds
            ran = self._runner.num_computed - ran
            self._progress.print(f"{name}: ran {ran:,} by {self._runner.engine} in {seconds:.1f} s")
        extracted = self._extracted[name]
        places = [self._runner.outputs.index(tensor) for tensor in cut.tensors]
        return FeatureDataset(
            views=tuple(
                Rows([[shard[place] for place in places] for shard in shards])
                for shards in extracted.views
            ),
            labels=extracted.labels,
            weights=extracted.weights,
            batch_size=extracted.batch_size or batch_size,
            shuffle=extracted.batch_size is None,
        )

    def summarize(self, cut: Cut) -> TrunkRun:
        """Return how the trunk was run."""
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
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _collect(self, data: batches.Inputs, name: str) -> _Extracted:
        rows = BATCH if batches.is_arrays(data) else 1  # of a dataset, one batch
        first = next(chunks.read_chunks(data, rows=rows, rank=self._rank)).images[:BATCH]
        augmented = name == "train"
        views = self._runner.views if augmented else 1
        max_images = chunks.max_images(data)
        on_disk = self._choose_disk(name, max_images, views)
        entry = self._open_entry(first, max_images, views, on_disk=on_disk)
        rows = _count_shard_rows(self._runner.row_bytes, first[0].nbytes, max_images)
        collectors = [_Collector(None if on_disk else max_images) for _ in range(views)]
        labels: list[np.ndarray] = []
        weights: list[np.ndarray] = []
        sizes: list[int] = []
        done = 0
        for number, chunk in enumerate(
            chunks.read_ahead(chunks.read_chunks(data, rows=rows, rank=self._rank))
        ):
            for view, collector in enumerate(collectors):
                place = (view, number) if augmented else None
                collector.add(self._runner.compute_features(chunk.images, entry, place=place))
                done += len(chunk.images)
                self._progress.update(done, None if max_images is None else max_images * views)
            labels.append(chunk.labels)
            weights += [] if chunk.weights is None else [chunk.weights]
            sizes += chunk.sizes
        self._images += done
        return _Extracted(
            views=[collector.shards() for collector in collectors],
            labels=np.concatenate(labels),
            weights=np.concatenate(weights) if weights else None,
            batch_size=None if batches.is_arrays(data) else _check_sizes(sizes, name),
        )

    def _choose_disk(self, name: str, max_images: int | None, views: int) -> bool:
        """Choose whether the features are stored on disk; prints how much room they take."""
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

    def _open_entry(
        self, first: np.ndarray, max_images: int | None, views: int, *, on_disk: bool
    ) -> store.Entry | None:
        """Return the entry for features on disk, if the disk has room; None to store none there."""
        if self._cache.folder is None and not on_disk:
            return None
        stored = store.Store(folder=self._choose_folder())
        entry = self._runner.open_entry(stored, first)
        there = sum(info.bytes for info in stored.entries() if info.key == entry.key)
        wanted = (max_images or 0) * views * self._runner.row_bytes
        files.check_room(stored.folder, max(wanted - there, 0))
        return entry

    def _choose_folder(self) -> Path:
        if self._cache.folder is not None:
            return Path(self._cache.folder)
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="tlkit-features-")
        return Path(self._temporary.name)


class _Collector:
    """Collects features chunk by chunk: in one array per tensor if their number is known."""

    def __init__(self, max_images: int | None) -> None:
        self._max_images, self._used = max_images, 0
        self._whole: list[np.ndarray] = []
        self._shards: list[list[np.ndarray]] = []

    def add(self, arrays: list[np.ndarray]) -> None:
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

    def shards(self) -> list[list[np.ndarray]]:
        return self._shards or [[whole[: self._used] for whole in self._whole]]


def _count_shard_rows(row_bytes: int, image_bytes: int, max_images: int | None) -> int:
    """Return how many images make a shard: whole batches of the engine, and about 32 MB.

    A run that is interrupted loses at most one shard. There are about 256: each is an open file, of
    which a process may have about a thousand.
    """
    rows = min(_SHARD_ROWS, _SHARD_BYTES // max(row_bytes, image_bytes))
    rows = max(rows, (max_images or 0) // _MAX_SHARDS)
    return max(rows // BATCH, 1) * BATCH


def _check_sizes(sizes: Sequence[int], name: str) -> int:
    if any(size != sizes[0] for size in sizes[:-1]) or sizes[-1] > sizes[0]:
        raise DataError(
            f"`{name}` must have batches of one size to be cached, got sizes from {min(sizes)} to "
            f"{max(sizes)}. Batch it evenly, or train with cache=None."
        )
    return sizes[0]
