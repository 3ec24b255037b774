"""The folder in which a run stores features, its size limit, and its replacement if it fails."""

import tempfile
from pathlib import Path

from tlkit._internal import files, temporaries
from tlkit._internal.temporaries import FEATURES
from tlkit._internal.text import byte_size
from tlkit.caching import location
from tlkit.caching.cache import Cache
from tlkit.caching.entries import Entry
from tlkit.caching.store import Store
from tlkit.caching.usage import Usage
from tlkit.errors import StoreError


class FeatureFolder:
    """The place where features are stored: the folder of a cache, a temporary one, or none.

    Args:
        cache: The cache, whose `folder` and `usage` are used.

    Attributes:
        store: The store; None if nothing is stored.
        usage: Counts the images that are computed; None counts nothing.
    """

    def __init__(self, cache: Cache) -> None:
        self._is_default = cache.folder == "auto"
        self._temporary: Path | None = None
        self.store: Store | None = None
        if cache.folder is not None:
            self.store = Store(folder=location.locate(cache.folder))
            self.store.remove_leftovers()
        self.usage: Usage | None = cache.usage

    @property
    def is_temporary(self) -> bool:
        """Whether features are stored for one run only, or not at all."""
        return self.store is None or self._temporary is not None

    def require(self, num_bytes: int | None) -> None:
        """Create a temporary folder, if features must be on disk and no folder was chosen.

        It is created in the default folder of features, or, if that disk is full, in the system's
        folder of temporary files. It is removed by `close`, with this object, or after the process.

        Args:
            num_bytes: How many bytes must be on disk; None if features may be in memory.

        Raises:
            StoreError: No disk has this much free space.
        """
        if num_bytes is None or self.store is not None:
            return
        folders = (location.default_folder(), Path(tempfile.gettempdir()))
        for folder in folders:
            try:
                files.check_room(folder, num_bytes)
                self._temporary = temporaries.make_folder(folder, self, prefix=FEATURES)
                self.store = Store(folder=self._temporary)
                return
            except OSError as error:
                problem = error
        raise files.to_store_error("make a folder in", folder, problem) from problem

    def give_up(self, error: StoreError, num_bytes: int | None) -> None:
        """Stop using the folder because of this error; `num_bytes` is as for `require`."""
        if self.usage is not None:
            self.usage.problem = str(error)
        self.store = None
        self.require(num_bytes)

    def make_room(self, num_bytes: int, entry: Entry) -> None:
        """Check that features fit on the disk; prune the default folder to stay below its limit.

        Args:
            num_bytes: The size of the new features.
            entry: The entry that will store them.

        Raises:
            StoreError: The features don't fit.
        """
        if self.store is None:
            return
        listed = self.store.entries()
        if not self._is_default or self._temporary is not None:
            there = sum(info.bytes for info in listed if info.key == entry.key)
            files.check_room(self.store.folder, max(num_bytes - there, 0))
            return
        used = sum(info.bytes for info in listed)
        limit = location.limit_bytes(self.store.folder, used)
        if num_bytes > limit:
            raise StoreError(
                f"{byte_size(num_bytes)} of features are more than the {byte_size(limit)} that "
                f"'{self.store.folder}' may have. Name a folder of your own to store them"
            )
        if used + num_bytes > limit:
            self.store.prune(keep_bytes=limit - num_bytes)

    def close(self) -> None:
        """Delete a temporary folder."""
        if self._temporary is not None:
            temporaries.remove(self._temporary)
            self._temporary = self.store = None
