"""Features on disk, under a key made from everything that determines them.

How several processes can write, read and prune one folder at the same time, without locks:

- An entry is a folder named by its key, with shards and `facts.json`, whose date is the last use.
- Every file is written under a temporary name and then renamed: it is whole, or does not exist.
- The facts and a shard's checksum are in place before the shard. So each shard can be checked, and
  an entry with shards can be listed. A damaged shard, or one that two processes wrote at once with
  different numbers, fails its check; it is deleted and computed again.
- Pruning renames the entry's folder, then deletes it. A process that has a shard mapped keeps it.
  One that is writing a shard finds that its temporary file is gone, and writes again.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import arguments, files
from tlkit._internal.text import byte_size
from tlkit.caching import shards
from tlkit.errors import ConfigError

_ATTEMPTS = 10  # to write a shard while other processes prune
_DAY_SECONDS = 86_400
_FACTS = "facts.json"
_LEFTOVER_SECONDS = 3_600  # no write takes an hour: an older temporary file has no writer
_PRUNED = ".pruned-"


@dataclass(frozen=True, kw_only=True)
class EntryInfo:
    """What a store holds under one key, how large it is, and when it was last used."""

    key: str
    facts: dict[str, Any]
    bytes: int
    shards: int
    last_used: datetime


@dataclass(frozen=True, kw_only=True)
class Store:
    """A folder of cached arrays that several processes may share; the first write creates it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     entry = Store(folder=folder).entry({"backbone": "tiny", "dtype": "int64"})
        ...     entry.write(digest(np.zeros(4)), [np.arange(3)])
        [memmap([0, 1, 2])]
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    def key(self, facts: Mapping[str, Any]) -> str:
        """Return the key that an entry with these facts has, whether it exists or not."""
        return _hash_json(_to_json(facts))

    def entry(self, facts: Mapping[str, Any]) -> "Entry":
        """Return the entry for arrays that these facts determine.

        Args:
            facts: Every fact that changes a number, as values that JSON can hold.

        Raises:
            ConfigError: JSON can't hold them.
        """
        text = _to_json(facts)
        entry = Entry(folder=self.folder, key=_hash_json(text), facts=text)
        entry._mark_used()
        return entry

    def entries(self) -> list[EntryInfo]:
        """Return all entries, the last used first; other files in the folder are ignored."""
        found = [info for folder in _find_folders(self.folder) if (info := _read_info(folder))]
        return sorted(found, key=lambda info: info.last_used, reverse=True)

    def prune(
        self,
        *,
        older_than_days: float | None = None,
        keep_bytes: int | None = None,
        key: str | None = None,
    ) -> int:
        """Delete entries, and files that killed processes left; return the number of bytes freed.

        Args:
            older_than_days: Delete entries that were not used for this long.
            keep_bytes: Delete the entries used longest ago until no more than this is left.
            key: Delete this entry.

        Raises:
            ConfigError: No argument is given, or no entry has that key.
            StoreError: The folder can't be changed.
        """
        if older_than_days is None and keep_bytes is None and key is None:
            raise ConfigError(
                "`prune` must be told what to delete, got no argument. "
                "Give older_than_days, keep_bytes or key."
            )
        kept = entries = self.entries()
        if key is not None:
            arguments.one_of("key", key, [info.key for info in entries])
            kept = [info for info in kept if info.key != key]
        if older_than_days is not None:
            kept = _select_recent(arguments.positive("older_than_days", older_than_days), kept)
        if keep_bytes is not None:
            kept = _select_fitting(arguments.at_least("keep_bytes", keep_bytes, 0), kept)
        doomed = {info.key for info in entries} - {info.key for info in kept}
        try:
            freed = sum(_delete_entry(self.folder / each) for each in doomed)
            return freed + _delete_leftovers(self.folder)
        except OSError as error:
            raise files.to_store_error("delete", self.folder, error) from error


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The shards under one key, each named by the digest of the images it was computed from.

    Attributes:
        folder: The store's folder; the shards are in a folder in it named by the key.
        key: The digest of the facts.
        facts: The facts as JSON.
    """

    folder: Path
    key: str
    facts: bytes = field(repr=False)

    def read(self, digest: str) -> list[np.ndarray] | None:
        """Return a shard's arrays, memory-mapped and read-only; None if it does not exist.

        A damaged shard is deleted, and does not exist then.

        Raises:
            StoreError: The file can't be opened.
        """
        path = self._path(digest)
        self._mark_used()
        try:
            return shards.load(path)
        except FileNotFoundError:
            return None
        except shards.DamagedError:
            with suppress(OSError):  # in a folder that is read-only
                path.unlink()
            return None
        except OSError as error:
            raise files.to_store_error("read", path, error) from error

    def write(self, digest: str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Write arrays as a shard, all of them or none; return them as `read` does.

        Raises:
            DataError: An array has a dtype that can't be stored, or no axis.
            StoreError: There is no room, or no permission.
        """
        path = self._path(digest)
        whole = [shards.to_storable(array) for array in arrays]
        try:
            for _ in range(_ATTEMPTS - 1):
                with suppress(FileNotFoundError, FileExistsError):  # pruned meanwhile
                    return self._put(path, whole)
            return self._put(path, whole)
        except OSError as error:
            wanted = byte_size(sum(array.nbytes for array in whole))
            raise files.to_store_error(f"write {wanted} to", path, error) from error

    def _put(self, path: Path, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        facts = path.with_name(_FACTS)

        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replace_atomically(path) as temporary:
            content = shards.to_bytes(arrays)
            temporary.write_bytes(content)
            # the temporary file exists: if the folder is pruned from now on, it goes too
            if not facts.exists():
                _write_bytes(facts, self.facts)
            _write_bytes(shards.checksum_path(path), shards.checksum(content, path.name))
        return shards.load_unchecked(path)

    def _path(self, digest: str) -> Path:
        return self.folder / self.key / f"{digest}{shards.SUFFIX}"

    def _mark_used(self) -> None:
        with suppress(OSError):  # it does not exist yet, or is read-only
            os.utime(self.folder / self.key / _FACTS)


def _write_bytes(path: Path, content: bytes) -> None:
    with files.replace_atomically(path) as temporary:
        temporary.write_bytes(content)


def digest(*arrays: np.ndarray) -> str:
    """Return the digest of the dtype, shape and bytes of arrays of plain values.

    Examples:
        >>> digest(np.zeros(2)) == digest(np.zeros((2, 1)))
        False
    """
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _to_json(facts: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(facts), indent=2, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"`facts` must be values that JSON can hold, got {dict(facts)!r}: {error}. "
            "Convert them to text."
        ) from error


def _hash_json(facts: bytes) -> str:
    return hashlib.blake2b(facts, digest_size=16).hexdigest()


def _find_folders(store: Path) -> list[Path]:
    return [folder for folder in store.glob("*") if re.fullmatch("[0-9a-f]{32}", folder.name)]


def _read_info(folder: Path) -> EntryInfo | None:
    facts = folder / _FACTS
    try:
        text, used = facts.read_bytes(), facts.stat().st_mtime
    except OSError:  # it belongs to another program, or was pruned meanwhile
        return None
    if _hash_json(text) != folder.name:
        return None
    sizes = _measure_files(folder)
    return EntryInfo(
        key=folder.name,
        facts=json.loads(text),
        bytes=sum(sizes.values()),
        shards=sum(path.suffix == shards.SUFFIX for path in sizes),
        last_used=datetime.fromtimestamp(used, UTC),
    )


def _select_recent(days: float, infos: Sequence[EntryInfo]) -> list[EntryInfo]:
    oldest = time.time() - days * _DAY_SECONDS
    return [info for info in infos if info.last_used.timestamp() > oldest]


def _select_fitting(room: int, infos: Sequence[EntryInfo]) -> list[EntryInfo]:
    """Return the first entries whose sizes add up to no more than there is room."""
    totals = itertools.accumulate(info.bytes for info in infos)
    return [info for info, total in zip(infos, totals, strict=True) if total <= room]


def _measure_files(folder: Path) -> dict[Path, int]:
    sizes = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with suppress(FileNotFoundError):  # a temporary file that was renamed meanwhile
                sizes[path] = path.stat().st_size
    return sizes


def _delete_entry(folder: Path) -> int:
    """Delete an entry atomically; return the bytes freed."""
    doomed = folder.with_name(f"{_PRUNED}{uuid.uuid4().hex}")
    try:
        folder.rename(doomed)
    except FileNotFoundError:  # another process has deleted it
        return 0
    return _delete_folder(doomed)


def _delete_folder(doomed: Path) -> int:
    size = sum(_measure_files(doomed).values())
    shutil.rmtree(doomed, ignore_errors=True)  # another process may be deleting it too
    return size - sum(_measure_files(doomed).values())


def _delete_leftovers(store: Path) -> int:
    """Delete files that killed processes left; return the bytes freed."""
    freed = sum(_delete_folder(doomed) for doomed in store.glob(f"{_PRUNED}*"))
    for folder in _find_folders(store):
        for path, size in _measure_files(folder).items():
            with suppress(FileNotFoundError):
                old = time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS
                if path.name.startswith(files.TEMPORARY) and old:
                    path.unlink()
                    freed += size
        with suppress(OSError):  # it is not empty
            folder.rmdir()
    return freed
