"""The folder that a training stores features in, its bounds, and what to do without one."""

import tempfile
from pathlib import Path

from tlkit._internal import files
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
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.store: Store | None = None
        if cache.folder is not None:
            self.store = Store(folder=location.locate(cache.folder))
        self.usage: Usage | None = cache.usage

    @property
    def is_temporary(self) -> bool:
        """Whether features are stored for one training only, or not at all."""
        return self.store is None or self._temporary is not None

    def require(self, *, on_disk: bool) -> None:
        """Store features in a temporary folder, if they must be on disk and there is no folder."""
        if on_disk and self.store is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="tlkit-features-")
            self.store = Store(folder=Path(self._temporary.name))

    def give_up(self, error: StoreError, *, on_disk: bool) -> None:
        """Use the folder no more, because of this error."""
        if self.usage is not None:
            self.usage.problem = str(error)
        self.store = None
        self.require(on_disk=on_disk)

    def make_room(self, num_bytes: int, entry: Entry) -> None:
        """Check that features fit on the disk; the default folder is kept within its bounds.

        Raises:
            StoreError: They don't fit.
        """
        if self.store is None:
            return
        listed = self.store.entries()
        if not self._is_default:
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
            self._temporary.cleanup()
            self._temporary = self.store = None
