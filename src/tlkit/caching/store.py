"""Store features on disk, under a key derived from everything that determines them.

How several processes can write, read and prune one folder at the same time, without locks:

- An entry is a folder named by its key, with shards and `facts.json`, whose date is the last use.
- Every file is written under a temporary name and then renamed: it is complete, or does not exist.
- The facts and a shard's checksum are written before the shard. So each shard can be checked, and
  each entry with shards can be listed. A damaged shard, or one that two processes wrote at once
  with different numbers, fails its check; it is deleted and computed again.
- Pruning deletes single shards, those used longest ago first, or renames the entry's folder, then
  deletes it. A process that has mapped a shard keeps its content, and maps each shard that it
  writes. A process that is writing a shard finds that its temporary file is gone, and writes it
  again. A process that looks up rows starts again.
- Leftovers of a killed process are removed by the next process that uses or prunes the store: see
  `_internal/temporaries`.
"""

import hashlib
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

from tlkit._internal import arguments, files, temporaries
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.caching import location, shards
from tlkit.caching.entries import FACTS, RACES, Entry
from tlkit.errors import ConfigError

_DAY_SECONDS = 86_400
_PRUNED = ".pruned-"


@dataclass(frozen=True, kw_only=True)
class EntryInfo:
    """The content of a store under one key.

    Attributes:
        key: The digest of the facts.
        facts: Everything that determines the features, besides the images.
        bytes: The size of all files in bytes.
        shards: The number of files of features.
        images: The number of images and augmented copies whose features are stored.
        last_used: The time of the last use.
    """

    key: str
    facts: dict[str, Any]
    bytes: int
    shards: int
    images: int
    last_used: datetime


@check_arguments
@dataclass(frozen=True, kw_only=True)
class Store:
    """A folder of cached arrays that several processes may share; the first write creates it.

    Attributes:
        folder: The folder; by default that of `Cache(folder="auto")`.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     entry = Store(folder=folder).entry({"backbone": "tiny", "dtype": "int64"})
        ...     entry.write("name", [np.arange(3)])
        [memmap([0, 1, 2])]
    """

    folder: Path = field(default_factory=location.default_folder)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    @check_arguments
    def key(self, facts: Mapping[str, Any]) -> str:
        """Return the key of an entry with these facts; the entry need not exist.

        Raises:
            ConfigError: JSON does not support the facts.
        """
        return _hash_json(_to_json(facts))

    @check_arguments
    def entry(self, facts: Mapping[str, Any]) -> "Entry":
        """Return the entry for arrays that these facts determine.

        Args:
            facts: Every fact that changes a number, as values that JSON supports.

        Raises:
            ConfigError: JSON does not support the facts.
        """
        text = _to_json(facts)
        entry = Entry(folder=self.folder, key=_hash_json(text), facts=text)
        entry.mark_used()
        return entry

    @check_arguments
    def wider_entries(self, facts: Mapping[str, Any]) -> list[tuple[Entry, list[int]]]:
        """Return entries that contain these features among others, and the indices of their arrays.

        Args:
            facts: Facts with "columns", the name of each array. All other facts must be equal.
        """
        found = []
        ignored = {"columns": 0, "last_layer": 0}  # the names of columns already identify layers
        for folder in _find_folders(self.folder):
            text = _read_facts(folder)
            other = {} if text is None else json.loads(text)
            columns = other.get("columns", [])
            if folder.name == self.key(facts) or not set(facts["columns"]) <= set(columns):
                continue
            if _to_json({**other, **ignored}) == _to_json({**facts, **ignored}):
                places = [columns.index(column) for column in facts["columns"]]
                found.append(
                    (Entry(folder=self.folder, key=folder.name, facts=text or b""), places)
                )
        return found

    def entries(self) -> list[EntryInfo]:
        """Return all entries, the last used first; other files in the folder are ignored."""
        found = [info for folder in _find_folders(self.folder) if (info := _read_info(folder))]
        return sorted(found, key=lambda info: info.last_used, reverse=True)

    @check_arguments
    def prune(
        self,
        *,
        older_than_days: float | None = None,
        keep_bytes: int | None = None,
        key: str | None = None,
    ) -> int:
        """Delete features, and leftovers of killed processes; return the number of bytes freed.

        Args:
            older_than_days: Delete the shards that were not used for this long.
            keep_bytes: Delete the shards used longest ago until at most this size is left.
            key: Delete this entry.

        Raises:
            ConfigError: There is no argument, or no entry has that key.
            StoreError: The folder can't be changed.
        """
        if older_than_days is None and keep_bytes is None and key is None:
            raise ConfigError(
                "`prune` must have something to delete, got no argument. "
                "Give older_than_days, keep_bytes or key."
            )
        entries = self.entries()
        listed = [shard for info in entries for shard in _list_shards(self.folder / info.key)]
        kept = sorted(listed, key=lambda shard: shard.last_used, reverse=True)
        if key is not None:
            arguments.one_of("key", key, [info.key for info in entries])
            kept = [shard for shard in kept if shard.path.parent.name != key]
        if older_than_days is not None:
            days = arguments.positive("older_than_days", older_than_days)
            kept = [each for each in kept if each.last_used > time.time() - days * _DAY_SECONDS]
        if keep_bytes is not None:
            kept = _select_fitting(arguments.at_least("keep_bytes", keep_bytes, 0), kept)
        used = {shard.path.parent for shard in kept}
        doomed = {shard.path for shard in listed} - {shard.path for shard in kept}
        try:
            freed = sum(_delete_shard(path) for path in doomed if path.parent in used)
            unused = [each for each in {shard.path.parent for shard in listed} if each not in used]
            freed += sum(map(_delete_entry, unused))
            freed += self.remove_leftovers()
            for folder in _find_folders(self.folder):
                with suppress(OSError):  # it is not empty
                    folder.rmdir()
            return freed
        except OSError as error:
            raise files.to_store_error("delete", self.folder, error) from error

    def remove_leftovers(self) -> int:
        """Delete leftovers of killed processes; return the number of bytes freed."""
        freed = sum(_delete_folder(doomed) for doomed in self.folder.glob(f"{_PRUNED}*"))
        folders = [self.folder, *_find_folders(self.folder)]
        return freed + sum(map(temporaries.remove_leftovers, folders))


@dataclass(frozen=True)
class _Shard:
    """A shard, the size of it and its checksum, and the time of its last use in seconds."""

    path: Path
    bytes: int
    last_used: float


def _to_json(facts: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(facts), indent=2, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"`facts` must be values that JSON can hold, got {show(dict(facts))}: {error}. "
            "Convert them to text."
        ) from error


def _hash_json(facts: bytes) -> str:
    return hashlib.blake2b(facts, digest_size=16).hexdigest()


def _find_folders(store: Path) -> list[Path]:
    return [folder for folder in store.glob("*") if re.fullmatch("[0-9a-f]{32}", folder.name)]


def _read_facts(folder: Path) -> bytes | None:
    """Return an entry's facts; None if the entry was pruned, or the folder is no entry."""
    try:
        text = (folder / FACTS).read_bytes()
    except OSError:
        return None
    return text if _hash_json(text) == folder.name else None


def _read_info(folder: Path) -> EntryInfo | None:
    text = _read_facts(folder)
    try:
        used = (folder / FACTS).stat().st_mtime
    except OSError:
        return None
    if text is None:
        return None
    sizes = _measure_files(folder)
    return EntryInfo(
        key=folder.name,
        facts=json.loads(text),
        bytes=sum(sizes.values()),
        shards=sum(path.suffix == shards.SUFFIX for path in sizes),
        images=sum(shards.count_rows(path) for path in sizes if path.suffix == shards.SUFFIX),
        last_used=datetime.fromtimestamp(used, UTC),
    )


def _list_shards(folder: Path) -> list[_Shard]:
    """Return an entry's shards; for an entry without shards, its facts as if they were one."""
    found = []
    for path in [*folder.glob(f"[!.]*{shards.SUFFIX}")] or [folder / FACTS]:
        with suppress(OSError):  # it was pruned meanwhile
            checksum = shards.checksum_path(path)
            size = checksum.stat().st_size if checksum.exists() else 0
            found.append(_Shard(path, path.stat().st_size + size, path.stat().st_mtime))
    return found


def _select_fitting(room: int, listed: Sequence[_Shard]) -> list[_Shard]:
    """Return the first shards whose total size, with their entries' facts, is at most `room`."""
    kept: list[_Shard] = []
    total, folders = 0, set[Path]()
    for shard in listed:
        facts = shard.path.with_name(FACTS)
        if shard.path.parent not in folders and shard.path != facts and facts.exists():
            total += facts.stat().st_size
        folders.add(shard.path.parent)
        total += shard.bytes
        if total > room:
            break
        kept.append(shard)
    return kept


def _delete_shard(path: Path) -> int:
    """Delete a shard of an entry that keeps other shards; return the bytes freed."""
    freed = 0
    for each in (path, shards.checksum_path(path)):
        try:
            size = each.stat().st_size
            each.unlink()
            freed += size
        except OSError as error:
            if error.errno not in RACES:  # another process has deleted it
                raise
    return freed


def _measure_files(folder: Path) -> dict[Path, int]:
    sizes = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with suppress(OSError):  # a temporary file that was renamed meanwhile
                sizes[path] = path.stat().st_size
    return sizes


def _delete_entry(folder: Path) -> int:
    """Delete an entry atomically; return the bytes freed."""
    doomed = folder.with_name(f"{_PRUNED}{uuid.uuid4().hex}")
    try:
        files.rename(folder, doomed)
    except OSError as error:
        if error.errno in RACES:  # another process has deleted it
            return 0
        raise
    return _delete_folder(doomed)


def _delete_folder(doomed: Path) -> int:
    size = temporaries.measure(doomed)
    shutil.rmtree(doomed, ignore_errors=True)  # another process may be deleting it too
    return size - temporaries.measure(doomed)
