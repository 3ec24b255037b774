"""Run a frozen trunk over images once, and keep what it gives."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkit._internal import files, system
from tlkit.caching import store
from tlkit.caching.batching import Feed
from tlkit.caching.cache import Cache, TrunkRun
from tlkit.caching.partition import Cut
from tlkit.caching.rows import Rows
from tlkit.caching.runner import BATCH, Runner
from tlkit.data import batches, chunks
from tlkit.errors import DataError

_SHARD_BYTES = 32 * 2**20
_SHARD_ROWS = 4096
_MOST_SHARDS = 256

Tell = Callable[[str], None]
Meter = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    """What one pass over a set of images left; a list of shards for each view."""

    views: list[list[list[np.ndarray]]]
    labels: np.ndarray
    weights: np.ndarray | None
    batch_size: int | None  # of a dataset; arrays have none

    @property
    def on_disk(self) -> bool:
        arrays = (array for view in self.views for shard in view for array in shard)
        return any(isinstance(array, np.memmap) for array in arrays)


class Pass:
    """One run of a frozen trunk that serves several cuts of a model.

    Args:
        model: The classifier.
        cuts: Where it is cut.
        cache: How to run and keep.
        augmentation: Layers that change the training images, for each view of them anew.
        tell: Is given lines for the user.
        meter: Is told how many images are done, and of how many, None where unknown.
    """

    def __init__(
        self,
        model: keras.Model,
        cuts: Sequence[Cut],
        cache: Cache,
        *,
        augmentation: Sequence[keras.layers.Layer] = (),
        tell: Tell = lambda line: None,
        meter: Meter = lambda done, total: None,
    ) -> None:
        self._cache, self._tell, self._meter = cache, tell, meter
        self._rank = len(model.inputs[0].shape)
        self._runner = Runner(model, cuts, cache, augmentation=augmentation)
        limit = cache.memory_limit
        self._room = system.free_memory() // 2 if limit is None else limit
        self._kept: dict[str, _Kept] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._images = 0
        self._seconds = 0.0

    def feed(self, cut: Cut, name: str, source: batches.Inputs, *, batch_size: int) -> Feed:
        """Return what crosses one of the cuts for all the images, running the trunk if need be.

        Raises:
            DataError: A dataset's batches differ in size.
            EngineError: The engine can't run the trunk, or gives other numbers than Keras.
            StoreError: There is not enough room on the disk.
        """
        if name not in self._kept:
            started, ran = time.perf_counter(), self._runner.computed
            self._kept[name] = self._collect(source, name)
            seconds = time.perf_counter() - started
            self._seconds += seconds
            ran = self._runner.computed - ran
            self._tell(f"{name}: ran {ran:,} by {self._runner.engine} in {seconds:.1f} s")
        kept = self._kept[name]
        places = [self._runner.outputs.index(tensor) for tensor in cut.tensors]
        return Feed(
            views=tuple(
                Rows([[shard[place] for place in places] for shard in shards])
                for shards in kept.views
            ),
            labels=kept.labels,
            weights=kept.weights,
            batch_size=kept.batch_size or batch_size,
            shuffle=kept.batch_size is None,
        )

    def report(self, cut: Cut) -> TrunkRun:
        """Return how it went."""
        return TrunkRun(
            why=cut.why,
            engine=self._runner.engine,
            error=self._runner.error,
            images=self._images,
            computed=self._runner.computed,
            bytes=self._images * self._runner.row_bytes,
            on_disk=any(kept.on_disk for kept in self._kept.values()),
            seconds=self._seconds,
            rounding=self._runner.rounding,
            switched_off=cut.switched_off,
        )

    def close(self) -> None:
        """Let go of the features; those that lie on disk for this training alone are deleted."""
        self._kept.clear()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _collect(self, source: batches.Inputs, name: str) -> _Kept:
        some = BATCH if batches.is_arrays(source) else 1  # of a dataset, one batch
        first = next(chunks.read(source, rows=some, rank=self._rank)).images[:BATCH]
        random = name == "train"  # validation is measured on images as they are
        views = self._runner.views if random else 1
        most = chunks.at_most(source)
        on_disk = self._plan(name, most, views)
        entry = self._entry(first, most, views, on_disk=on_disk)
        rows = _shard_rows(self._runner.row_bytes, first[0].nbytes, most)
        shelves = [_Shelf(None if on_disk else most) for _ in range(views)]
        labels: list[np.ndarray] = []
        weights: list[np.ndarray] = []
        sizes: list[int] = []
        done = 0
        for number, chunk in enumerate(
            chunks.ahead(chunks.read(source, rows=rows, rank=self._rank))
        ):
            for view, shelf in enumerate(shelves):
                place = (view, number) if random else None
                shelf.add(self._runner.features(chunk.images, entry, place=place))
                done += len(chunk.images)
                self._meter(done, None if most is None else most * views)
            labels.append(chunk.labels)
            weights += [] if chunk.weights is None else [chunk.weights]
            sizes += chunk.sizes
        self._images += done
        return _Kept(
            views=[shelf.shards() for shelf in shelves],
            labels=np.concatenate(labels),
            weights=np.concatenate(weights) if weights else None,
            batch_size=None if batches.is_arrays(source) else _one_size(sizes, name),
        )

    def _plan(self, name: str, most: int | None, views: int) -> bool:
        """Tell whether the features go to disk, and say how much room they take."""
        a_row = self._runner.row_bytes
        if most is None:
            self._tell(f"{name}: keeps {a_row:,} bytes an image on disk; how many is not known yet")
            return True
        total = most * views * a_row
        on_disk = total > self._room
        where = "on disk" if on_disk else "in memory"
        copies = f" in {views} views" if views > 1 else ""
        self._tell(
            f"{name}: keeps {a_row:,} bytes of each of {most:,} images{copies}, "
            f"{total / 1e6:,.1f} MB {where}"
        )
        if not on_disk:
            self._room -= total
        return on_disk

    def _entry(
        self, first: np.ndarray, most: int | None, views: int, *, on_disk: bool
    ) -> store.Entry | None:
        """Return where features are kept on disk, if they are, with room for what is missing."""
        if self._cache.folder is None and not on_disk:
            return None
        kept = store.Store(folder=self._folder())
        entry = self._runner.entry(kept, first)
        there = sum(info.bytes for info in kept.entries() if info.key == entry.key)
        wanted = (most or 0) * views * self._runner.row_bytes
        files.check_room(kept.folder, max(wanted - there, 0))
        return entry

    def _folder(self) -> Path:
        if self._cache.folder is not None:
            return Path(self._cache.folder)
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="tlkit-features-")
        return Path(self._temporary.name)


class _Shelf:
    """Takes features chunk by chunk; into one array for each tensor where the number is known."""

    def __init__(self, most: int | None) -> None:
        self._most, self._used = most, 0
        self._whole: list[np.ndarray] = []
        self._shards: list[list[np.ndarray]] = []

    def add(self, arrays: list[np.ndarray]) -> None:
        if self._most is None:
            self._shards.append(arrays)
            return
        if not self._whole:
            self._whole = [np.empty((self._most, *each.shape[1:]), each.dtype) for each in arrays]
        end = self._used + len(arrays[0])
        for whole, array in zip(self._whole, arrays, strict=True):
            whole[self._used : end] = array
        self._used = end

    def shards(self) -> list[list[np.ndarray]]:
        return self._shards or [[whole[: self._used] for whole in self._whole]]


def _shard_rows(row_bytes: int, image_bytes: int, most: int | None) -> int:
    """Return how many images make a shard: whole engine batches, and little enough to lose.

    Each shard on disk is an open file, of which a process may have about a thousand.
    """
    rows = min(_SHARD_ROWS, _SHARD_BYTES // max(row_bytes, image_bytes))
    rows = max(rows, (most or 0) // _MOST_SHARDS)
    return max(rows // BATCH, 1) * BATCH


def _one_size(sizes: Sequence[int], name: str) -> int:
    if any(size != sizes[0] for size in sizes[:-1]) or sizes[-1] > sizes[0]:
        raise DataError(
            f"`{name}` must be a dataset whose batches have one size to be kept, got sizes from "
            f"{min(sizes)} to {max(sizes)}. Batch it evenly, or train with cache=None."
        )
    return sizes[0]
