from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.samples import SilentBar

from tlkit.caching import collection
from tlkit.caching.collection import StoredCollection
from tlkit.caching.progress import CacheProgress
from tlkit.data.chunks import Chunk
from tlkit.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), "uint8")


class _Source:
    """Six images in chunks of two, which may be fewer than announced, or end with an error."""

    def __init__(self, max_images: int | None, *, fails: bool = False) -> None:
        self.max_images, self._fails = max_images, fails

    def read(self, rows: int) -> Iterator[Chunk]:
        for start in range(0, 6, 2):
            if self._fails and start:
                raise DataError("an image is damaged")
            some = IMAGES[start : start + 2]
            yield Chunk(images=some, labels=np.zeros(2), weights=None, sizes=())

    def read_rows(self, indices: np.ndarray, rows: int) -> Iterator[np.ndarray]:
        for chunk in self.read(rows):
            yield chunk.images


def _store(source: Any) -> StoredCollection:
    """Return a collection from a store that lacks all images."""
    lookup = SimpleNamespace(
        entry=None, locate=lambda digests: np.zeros(len(digests), bool), write=lambda *_: None
    )
    return StoredCollection(
        runner=_runner(),
        source=source,
        lookup=lookup,  # type: ignore[arg-type]  # only what is called
        rows=2,
        folder=SimpleNamespace(make_room=lambda *_: None, usage=None),  # type: ignore[arg-type]
        progress=CacheProgress(verbose=True),
    )


def _runner() -> Any:
    return SimpleNamespace(run=lambda images: [images], row_bytes=48)


@pytest.mark.parametrize("max_images", [None, 6, 9])
def test_a_bar_is_closed_after_the_last_image(
    max_images: int | None, opened_bars: list[SilentBar]
) -> None:
    source: Any = _Source(max_images)
    found = collection.run_all(_runner(), source, 2, CacheProgress(verbose=True))
    assert sum(len(shard[0]) for shard in found.shards) == 6
    assert len(_store(source)._run_stream()) == 6
    assert [bar.is_closed for bar in opened_bars] == [True, True]


def test_a_bar_is_closed_on_an_error(opened_bars: list[SilentBar]) -> None:
    source: Any = _Source(6, fails=True)
    with pytest.raises(DataError):
        collection.run_all(_runner(), source, 2, CacheProgress(verbose=True))
    with pytest.raises(DataError):
        _store(source)._run_stream()
    digests = np.arange(12, dtype="uint64").reshape(6, 2)
    with pytest.raises(DataError):
        _store(source)._run_rows(digests, np.arange(6))
    assert [bar.is_closed for bar in opened_bars] == [True] * 3
