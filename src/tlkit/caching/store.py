"""Arrays on disk under a key that says what made them: what was computed once is read again."""

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
_LEFT_BEHIND_SECONDS = 3_600


@dataclass(frozen=True, kw_only=True)
class EntryInfo:
    """What a store holds under one key: from which facts, how much, and when it was last used."""

    key: str
    facts: dict[str, Any]
    bytes: int
    shards: int
    last_used: datetime


@dataclass(frozen=True, kw_only=True)
class Store:
    """A folder of cached arrays, made when first written to; processes may share it.

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
        """Return the key of the entry with these facts, whether or not it is there."""
        return _key(_canonical(facts))

    def entry(self, facts: Mapping[str, Any]) -> "Entry":
        """Return the entry of the arrays that were made from these facts.

        Args:
            facts: Every fact that changes a number, as values that JSON can hold.

        Raises:
            ConfigError: JSON can't hold them.
        """
        text = _canonical(facts)
        entry = Entry(folder=self.folder, key=_key(text), facts=text)
        entry._touch()
        return entry

    def entries(self) -> list[EntryInfo]:
        """Return what is there, newest use first; what others put there is left out."""
        found = [info for folder in _key_folders(self.folder) if (info := _info(folder))]
        return sorted(found, key=lambda info: info.last_used, reverse=True)

    def prune(
        self,
        *,
        older_than_days: float | None = None,
        keep_bytes: int | None = None,
        key: str | None = None,
    ) -> int:
        """Delete entries, and what killed processes left behind; return the bytes freed.

        Args:
            older_than_days: Delete what was not used for that long.
            keep_bytes: Delete what was not used for longest until no more than this is left.
            key: Delete this one.

        Raises:
            ConfigError: Nothing is given, or there is no such key.
            StoreError: The folder can't be changed.
        """
        if older_than_days is None and keep_bytes is None and key is None:
            raise ConfigError(
                "`prune` must be told what to delete, got nothing. "
                "Give older_than_days, keep_bytes or key."
            )
        kept = entries = self.entries()
        if key is not None:
            arguments.one_of("key", key, [info.key for info in entries])
            kept = [info for info in kept if info.key != key]
        if older_than_days is not None:
            kept = _used_within(arguments.positive("older_than_days", older_than_days), kept)
        if keep_bytes is not None:
            kept = _fitting(arguments.at_least("keep_bytes", keep_bytes, 0), kept)
        doomed = {info.key for info in entries} - {info.key for info in kept}
        try:
            return sum(_remove(self.folder / each) for each in doomed) + _sweep(self.folder)
        except OSError as error:
            raise files.to_store_error("delete", self.folder, error) from error


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Shards of arrays under one key, each under the digest of what it was computed from.

    Attributes:
        folder: The store's folder; the shards lie in a folder in it that is named by the key.
        key: The digest of the facts.
        facts: The facts as JSON.
    """

    folder: Path
    key: str
    facts: bytes = field(repr=False)

    def read(self, digest: str) -> list[np.ndarray] | None:
        """Return a shard's arrays, memory-mapped and read-only; None where it is not there.

        A damaged file is deleted and taken as not there.

        Raises:
            StoreError: The file can't be opened.
        """
        path = self._path(digest)
        self._touch()
        try:
            return shards.load(path)
        except FileNotFoundError:
            return None
        except shards.DamagedError:
            with suppress(OSError):  # a folder that is read-only
                path.unlink()
            return None
        except OSError as error:
            raise files.to_store_error("read", path, error) from error

    def write(self, digest: str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Keep arrays as a shard, all of them or nothing; return them as `read` would.

        Raises:
            DataError: An array is of a kind that can't be kept, or has no axis.
            StoreError: There is no room, or no permission.
        """
        path = self._path(digest)
        whole = [shards.storable(array) for array in arrays]
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
            with temporary.open("x+b") as file:
                shards.write(file, arrays)
            if not facts.exists():  # here: if pruned from now on, the shard is gone with its folder
                with files.replace_atomically(facts) as another:
                    another.write_bytes(self.facts)
        return shards.load(path)

    def _path(self, digest: str) -> Path:
        return self.folder / self.key / f"{digest}.shard"

    def _touch(self) -> None:
        with suppress(OSError):  # not there yet, or read-only
            os.utime(self.folder / self.key / _FACTS)


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


def _canonical(facts: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(facts), indent=2, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"`facts` must be what JSON can hold, got {dict(facts)!r}: {error}. Give it as text."
        ) from error


def _key(facts: bytes) -> str:
    return hashlib.blake2b(facts, digest_size=16).hexdigest()


def _key_folders(store: Path) -> list[Path]:
    return [folder for folder in store.glob("*") if re.fullmatch("[0-9a-f]{32}", folder.name)]


def _info(folder: Path) -> EntryInfo | None:
    facts = folder / _FACTS
    try:
        text, used = facts.read_bytes(), facts.stat().st_mtime
    except OSError:  # someone else's, or pruned meanwhile
        return None
    if _key(text) != folder.name:
        return None
    sizes = _sizes(folder)
    return EntryInfo(
        key=folder.name,
        facts=json.loads(text),
        bytes=sum(sizes.values()),
        shards=sum(path.suffix == ".shard" for path in sizes),
        last_used=datetime.fromtimestamp(used, UTC),
    )


def _used_within(days: float, infos: Sequence[EntryInfo]) -> list[EntryInfo]:
    oldest = time.time() - days * _DAY_SECONDS
    return [info for info in infos if info.last_used.timestamp() > oldest]


def _fitting(room: int, infos: Sequence[EntryInfo]) -> list[EntryInfo]:
    """Return as many as fit, from the first on."""
    totals = itertools.accumulate(info.bytes for info in infos)
    return [info for info, total in zip(infos, totals, strict=True) if total <= room]


def _sizes(folder: Path) -> dict[Path, int]:
    sizes = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with suppress(FileNotFoundError):  # a temporary name
                sizes[path] = path.stat().st_size
    return sizes


def _remove(folder: Path) -> int:
    """Delete an entry, at one blow for who reads and writes; return the bytes freed."""
    doomed = folder.with_name(f".pruned-{uuid.uuid4().hex}")
    try:
        folder.rename(doomed)
    except FileNotFoundError:  # another process was faster
        return 0
    return _delete(doomed)


def _delete(doomed: Path) -> int:
    size = sum(_sizes(doomed).values())
    shutil.rmtree(doomed, ignore_errors=True)  # another process may be at it too
    return size - sum(_sizes(doomed).values())


def _sweep(store: Path) -> int:
    """Delete what killed processes left behind; return the bytes freed."""
    freed = sum(_delete(doomed) for doomed in store.glob(".pruned-*"))
    for folder in _key_folders(store):
        for path, size in _sizes(folder).items():
            with suppress(FileNotFoundError):
                old = time.time() - path.stat().st_mtime > _LEFT_BEHIND_SECONDS
                if path.name.startswith(files.TEMPORARY) and old:
                    path.unlink()
                    freed += size
        with suppress(OSError):  # it holds something
            folder.rmdir()
    return freed
