"""The folder that a training stores features in, its bounds, and what to do without one."""

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
    """Where features are stored: the folder of a cache, a temporary one, or nowhere.

    Args:
        cache: Names the folder.

    Attributes:
        store: The store; None to store nothing.
        usage: Counts what is run.
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
        """Whether features are stored for one training only, or not at all."""
        return self.store is None or self._temporary is not None

    def require(self, num_bytes: int | None) -> None:
        """Store features in a temporary folder, if they must be on disk and there is no folder.

        It is where features are stored by default, or if that has no room, where temporary files
        go. It is removed by `close`, with this object, or once the process has ended.

        Args:
            num_bytes: How many bytes must be on disk; None if they may be in memory.

        Raises:
            StoreError: There is no place with this much room.
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
        """Use the folder no more, because of this error; `num_bytes` is as for `require`."""
        if self.usage is not None:
            self.usage.problem = str(error)
        self.store = None
        self.require(num_bytes)

    def make_room(self, num_bytes: int, entry: Entry) -> None:
        """Check that features fit on the disk; the default folder is kept within its bounds.

        Raises:
            StoreError: They don't fit.
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
