"""Find the features of images in a store by the digests of the images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.caching import entries, shards
from tlkit.caching.entries import Entry, Found
from tlkit.caching.store import Store


class Lookup:
    """Finds features in an entry, and in entries that contain the same features among others.

    Args:
        stored: The store.
        facts: Everything that determines the features, besides the images.

    Attributes:
        entry: The entry that new features are written to.
    """

    def __init__(self, stored: Store, facts: Mapping[str, Any]) -> None:
        self.stored, self.entry = stored, stored.entry(facts)
        self._loaded: dict[str, dict[str, list[np.ndarray]]] = {}
        self._written: dict[str, np.ndarray] = {}  # the digests in each shard of this process
        self._wider: list[tuple[Entry, list[int]]] = stored.wider_entries(facts)

    @property
    def has_features(self) -> bool:
        """Whether features of any image are stored."""
        return bool(self._wider) or self.entry.has_rows

    def locate(self, digests: np.ndarray) -> np.ndarray:
        """Return whether the features of each image seem to be stored, `(count,)`."""
        there = self.entry.locate_rows(digests)
        there |= entries.match(entries.stack(self._written.values()), digests) >= 0
        for entry, _ in self._wider:
            there = there | entry.locate_rows(digests)
        return there

    def find(self, digests: np.ndarray) -> Found:
        """Return the features of images, from undamaged files.

        Raises:
            StoreError: A file can't be opened.
        """
        found = self._find(self.entry, digests)
        for entry, columns in self._wider:
            missing = found.places < 0
            if missing.any():
                more = self._find(entry, digests[missing])
                narrow = [[shard[column] for column in columns] for shard in more.shards]
                found = join(found, Found(shards=narrow, places=more.places))
        missing = found.places < 0
        if missing.any() and self._written:  # another process has pruned shards of this process
            loaded = self._loaded[self.entry.key]
            written = [loaded[name] for name in self._written]
            places = entries.match(entries.stack(self._written.values()), digests[missing])
            found = join(found, Found(shards=written, places=places))
        return found

    def _find(self, entry: Entry, digests: np.ndarray) -> Found:
        return entry.find_rows(digests, self._loaded.setdefault(entry.key, {}))

    def write(self, digests: np.ndarray, arrays: Sequence[np.ndarray]) -> None:
        """Store the features of images.

        Raises:
            StoreError: The disk is full, or the folder is read-only.
        """
        name, written = self.entry.write_rows(digests, arrays)
        # The arrays stay mapped, so this process keeps them even if another one prunes the files.
        self._loaded.setdefault(self.entry.key, {})[name] = written
        self._written[name] = digests

    def release_pages(self) -> None:
        """Let the system free the memory of mapped files, after their arrays were copied.

        The files stay mapped, and are read again when they are needed.
        """
        for loaded in self._loaded.values():
            for arrays in loaded.values():
                shards.release_pages(arrays)


def join(found: Found, more: Found) -> Found:
    """Return the rows that were found first, completed by rows that were found later."""
    offset = sum(len(shard[0]) for shard in found.shards)
    places = found.places.copy()
    places[places < 0] = np.where(more.places < 0, -1, more.places + offset)
    return Found(shards=[*found.shards, *more.shards], places=places)
