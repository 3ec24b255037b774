"""One entry of a store: shards of arrays, found by name, or row by row by each row's digest."""

import errno
import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tlkit._internal import files
from tlkit._internal.text import byte_size
from tlkit.caching import shards
from tlkit.errors import StoreError

FACTS = "facts.json"
RACES = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ESTALE)
"""Errors caused by another process, here or on another machine, that writes or prunes the files."""
_ATTEMPTS = 10  # at writing a shard while other processes prune
_MAX_SMALL = 16  # small shards that a lookup may read before they are joined
_SMALL_BYTES = 8 * 2**20
_JOINED_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The result of looking up rows.

    Attributes:
        shards: The arrays of each shard that has one of the rows, memory-mapped.
        places: The position of each row, counted through all shards; -1 if it is not in the store.
    """

    shards: list[list[np.ndarray]]
    places: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The shards under one key.

    The last array of a shard may be a digest of each row; then rows are found by these digests.

    Attributes:
        folder: The store's folder; the shards are in its subfolder with the key as name.
        key: The digest of the facts.
        facts: The facts as JSON: everything that determines the features, besides the images.
    """

    folder: Path
    key: str
    facts: bytes = field(repr=False)

    def read(self, name: str) -> list[np.ndarray] | None:
        """Return a shard's arrays, memory-mapped and read-only; None if it does not exist.

        A damaged shard is deleted, and None is returned.

        Raises:
            StoreError: The file can't be opened.
        """
        path = self._path(name)
        self.mark_used()
        try:
            found = shards.load(path)
        except shards.DamagedError:
            _delete(path)
            return None
        except OSError as error:
            if error.errno in RACES:
                return None
            raise files.to_store_error("read", path, error) from error
        with suppress(OSError):  # it was pruned meanwhile, or is read-only
            os.utime(path)  # the shards used longest ago are pruned first
        return found

    def write(self, name: str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Write arrays as a shard atomically; return them as `read` does.

        Args:
            name: The name of the shard.
            arrays: The arrays, each with one axis or more.

        Raises:
            DataError: An array has a dtype that can't be stored, or no axis.
            StoreError: The disk is full, or the folder is read-only.
        """
        path = self._path(name)
        whole = [shards.to_storable(array) for array in arrays]
        try:
            for _ in range(_ATTEMPTS - 1):
                try:
                    return self._put(path, whole)
                except OSError as error:
                    if error.errno not in RACES:
                        raise
            return self._put(path, whole)
        except OSError as error:
            wanted = byte_size(sum(array.nbytes for array in whole))
            raise files.to_store_error(f"write {wanted} to", path, error) from error

    def write_rows(
        self, digests: np.ndarray, arrays: Sequence[np.ndarray]
    ) -> tuple[str, list[np.ndarray]]:
        """Write rows as a shard; return its name, and its arrays without the digests.

        Args:
            digests: The digest of each row, `(count, 2)` in uint64. The shard's name is derived
                from them, so that they can be checked without reading the other arrays.
            arrays: Arrays with these rows.

        Raises:
            StoreError: The disk is full, or the folder is read-only.
        """
        name = digest(digests)
        return name, self.write(name, [*arrays, digests])[:-1]

    def locate_rows(self, digests: np.ndarray) -> np.ndarray:
        """Return whether each row seems to be stored; only `find_rows` checks the shards."""
        known = [each for _, each in self._read_digests()]
        return match(stack(known), digests) >= 0

    # There is no index, which processes would have to update together: each shard has the digests
    # of its rows, and a lookup sorts the digests of all shards. Meanwhile another process may prune
    # a shard or join it with others, or a shard may prove damaged. Then the lookup starts again,
    # and finds the rows in other shards or not at all.
    def find_rows(
        self, digests: np.ndarray, loaded: dict[str, list[np.ndarray]] | None = None
    ) -> Found:
        """Return the rows with these digests, from undamaged shards.

        Args:
            digests: The digest of each row, `(count, 2)`.
            loaded: Shards that were read and checked before; further ones are added.

        Raises:
            StoreError: A file can't be opened.
        """
        loaded = {} if loaded is None else loaded
        for _ in range(_ATTEMPTS):
            listed = self._read_digests()
            places = match(stack([each for _, each in listed]), digests)
            starts = np.cumsum([0, *(len(each) for _, each in listed)])
            owners = np.searchsorted(starts, places, side="right") - 1  # -1 for missing rows
            used = np.unique(owners[places >= 0])
            names = [listed[number][0] for number in used]
            for name in names:
                if name not in loaded and (arrays := self.read(name)) is not None:
                    loaded[name] = arrays[:-1]
            if all(name in loaded for name in names):
                compact = np.zeros(len(listed) + 1, "int64")
                lengths = [len(listed[number][1]) for number in used]
                compact[used] = np.cumsum([0, *lengths])[:-1] - starts[used]
                places = np.where(places < 0, -1, places + compact[owners])
                self._join_small(names)
                return Found(shards=[loaded[name] for name in names], places=places)
        return Found(shards=[], places=np.full(len(digests), -1))

    def _read_digests(self) -> list[tuple[str, np.ndarray]]:
        """Return each shard's name and the digests of its rows; damaged shards are deleted."""
        found = []
        for path in sorted((self.folder / self.key).glob(f"[!.]*{shards.SUFFIX}")):
            try:
                digests = shards.read_last(path)
            except shards.DamagedError:
                _delete(path)
                continue
            except OSError as error:
                if error.errno in RACES:
                    continue
                raise files.to_store_error("read", path, error) from error
            if digest(digests) == path.stem:
                found.append((path.stem, digests))
            elif digests.shape[1:] == (2,) and digests.dtype == "uint64":
                _delete(path)
        return found

    # Adding a few images each day would create a thousand small files. So when one lookup has
    # read more than 16 small shards, their rows are written again as large ones, and then the small
    # ones are deleted. Only shards of one lookup are joined, so that rows that are used together
    # are pruned together. If a process is killed in between, rows are stored twice: harmless.
    def _join_small(self, names: Sequence[str]) -> None:
        """Join small shards, if there are many of them; errors are ignored."""
        with suppress(OSError, StoreError):
            small = [name for name in names if self._path(name).stat().st_size <= _SMALL_BYTES]
            if len(small) <= _MAX_SMALL:
                return
            loaded = [each for each in map(self.read, small) if each is not None]
            whole = [np.concatenate(parts) for parts in zip(*loaded, strict=True)]
            _, first = np.unique(whole[-1], axis=0, return_index=True)
            rows = np.sort(first)
            row_bytes = sum(array[:1].nbytes for array in whole)
            size = max(_JOINED_BYTES // row_bytes, 1)
            for start in range(0, len(rows), size):
                *arrays, digests = (array[rows[start : start + size]] for array in whole)
                self.write_rows(digests, arrays)
            del loaded
            for name in small:
                _delete(self._path(name))

    def _put(self, path: Path, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        facts = path.with_name(FACTS)

        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replace_atomically(path) as temporary:
            content = shards.to_bytes(arrays, path)
            temporary.write_bytes(content)
            # the temporary file exists: from now on, pruning the folder would remove it too
            if not facts.exists():
                _write_bytes(facts, self.facts)
            _write_bytes(shards.checksum_path(path), shards.checksum(content, path.name))
        return shards.load_unchecked(path, content)

    def _path(self, name: str) -> Path:
        return self.folder / self.key / f"{name}{shards.SUFFIX}"

    @property
    def has_rows(self) -> bool:
        """Whether the entry has at least one shard."""
        return any((self.folder / self.key).glob(f"[!.]*{shards.SUFFIX}"))

    def mark_used(self) -> None:
        """Set the time of the entry's last use to now."""
        with suppress(OSError):  # it does not exist yet, or is read-only
            os.utime(self.folder / self.key / FACTS)


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


def _delete(path: Path) -> None:
    """Delete a shard and its checksum, if they exist and the folder is writable."""
    for each in (path, shards.checksum_path(path)):
        with suppress(OSError):
            each.unlink()


def stack(digests: Iterable[np.ndarray]) -> np.ndarray:
    """Return digests one after another, `(count, 2)`."""
    return np.concatenate([np.empty((0, 2), "uint64"), *digests])


def match(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of each wanted digest among the known ones; -1 for an unknown digest.

    Digests are searched by their first half, which never agrees by chance; then both are compared.
    """
    if not len(known):
        return np.full(len(wanted), -1)
    order = np.argsort(known[:, 0])
    at = np.searchsorted(known[:, 0], wanted[:, 0], sorter=order)
    places = order[np.minimum(at, len(known) - 1)]
    return np.where((known[places] == wanted).all(axis=1), places, -1)
