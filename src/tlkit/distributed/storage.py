"""Files on a disk or in a bucket: by pyarrow, or by fsspec for addresses pyarrow does not know."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from tlkit._internal import regular_files
from tlkit._internal.files import replace_atomically
from tlkit._internal.optional import require
from tlkit._internal.text import byte_size, shorten
from tlkit.errors import Argument, ConfigError, StoreError

_MAX_BYTES = 2**31  # of an image file
_MAX_REASON = 300  # characters


@dataclass(frozen=True)
class Stamp:
    """The size and the time of a file, which show whether it has changed without reading it.

    Attributes:
        size: The size in bytes.
        modified: The time of the last change, in nanoseconds since 1970; None if it is unknown.
    """

    size: int
    modified: int | None


@dataclass(frozen=True)
class Location:
    """A file or folder: an absolute path on this computer, or an address like s3://bucket/name.

    Examples:
        >>> Location("s3://bucket/photos").join("cat/1.jpg").text
        's3://bucket/photos/cat/1.jpg'
        >>> Location("/photos").join("s3://bucket/1.jpg").text
        's3://bucket/1.jpg'
    """

    text: str

    def __str__(self) -> str:
        return shorten(self.text)

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this computer."""
        return "://" not in self.text

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.text).name

    @property
    def parent(self) -> "Location":
        """The folder that contains it."""
        return Location(self.text.rstrip("/").rpartition("/")[0] or "/")

    def join(self, name: str) -> "Location":
        """Return the location of a name in this folder; absolute paths and addresses stay."""
        if "://" in name or (self.is_local and name.startswith("/")):
            return Location(name)
        return Location(f"{self.text.rstrip('/')}/{name}")

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path in it."""
        if self.is_local:
            return require("pyarrow.fs", extra="ray").LocalFileSystem(), self.text
        scheme, _, rest = self.text.partition("://")
        bucket, slash, path = rest.partition("/")
        filesystem, root = _open_bucket(f"{scheme}://{bucket}")
        return filesystem, f"{root}{slash}{path}"

    def stat(self) -> Stamp | None:
        """Return the size and the time of a file; None if there is no such file.

        Raises:
            OSError: The store can't be reached, or denies access.
        """
        filesystem, path = self._opened
        found = filesystem.get_file_info(path)
        return Stamp(found.size or 0, found.mtime_ns) if found.is_file else None

    def list_files(self, ending: str) -> list["Location"]:
        """Return the files in a folder and its subfolders that have this ending, sorted by name.

        Files whose names begin with "." or "_" are left out.

        Raises:
            OSError: The store can't be reached, or denies access.
        """
        filesystem, path = self._opened
        selector = require("pyarrow.fs", extra="ray").FileSelector(path, recursive=True)
        inside = (each.path for each in filesystem.get_file_info(selector) if each.is_file)
        names = sorted(each[len(path.rstrip("/")) + 1 :] for each in inside)
        hidden = (".", "_")
        return [
            self.join(name)
            for name in names
            if name.endswith(ending) and not PurePosixPath(name).name.startswith(hidden)
        ]

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder.

        Raises:
            OSError: The store can't be reached, or denies access.
        """
        if self.is_local:
            return Path(self.text).is_dir()
        filesystem, path = self._opened
        types = require("pyarrow.fs", extra="ray").FileType
        return bool(filesystem.get_file_info(path).type == types.Directory)

    def read(self, max_bytes: int = _MAX_BYTES) -> bytes:
        """Return the content of a file.

        Raises:
            OSError: There is no such file, it can't be read, or it is larger than `max_bytes`.
        """
        if self.is_local:
            return regular_files.read_bytes(Path(self.text), max_bytes=max_bytes)
        filesystem, path = self._opened
        with filesystem.open_input_stream(path) as stream:
            content = bytes(stream.read(max_bytes + 1))
        if len(content) > max_bytes:
            raise OSError(0, f"it is larger than {byte_size(max_bytes)}", self.text)
        return content

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Yield the file, to read parts of it.

        Raises:
            OSError: There is no such file, or it can't be read.
        """
        filesystem, path = self._opened
        with filesystem.open_input_file(path) as file:
            yield file

    def write(self, content: bytes) -> None:
        """Write a file atomically, also in place of an existing file.

        A file in a bucket appears when all its content has been sent.

        Raises:
            StoreError: It can't be written.
        """
        if self.is_local:
            with replace_atomically(Path(self.text)) as temporary:
                temporary.write_bytes(content)
            return
        filesystem, path = self._opened
        try:
            with filesystem.open_output_stream(path) as stream:
                stream.write(content)
        except OSError as error:
            raise StoreError(f"Can't write '{self}': {explain(error)}.") from error

    def make_folder(self) -> None:
        """Create a folder; a bucket needs no folders.

        Raises:
            StoreError: It can't be created.
        """
        if not self.is_local:
            return
        try:
            Path(self.text).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"Can't make the folder '{self}': {explain(error)}.") from error

    def remove(self) -> None:
        """Delete a file, if there is one.

        Raises:
            StoreError: It can't be deleted.
        """
        filesystem, path = self._opened
        try:
            filesystem.delete_file(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"Can't delete '{self}': {explain(error)}.") from error


def locate(argument: str, value: str | Path) -> Location:
    """Return the location of a file or folder; relative paths become absolute for all machines.

    Raises:
        ConfigError: Neither pyarrow nor fsspec knows this kind of address.
    """
    text = os.fspath(value)
    if "://" not in text:
        return Location(Path(text).expanduser().absolute().as_posix())
    if text.startswith("file://"):
        return Location(text.removeprefix("file://"))
    found = Location(text)
    try:
        found._opened  # noqa: B018  # raises an error if the kind of address is unknown
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            Argument(argument),
            f" must be a path, or an address such as s3://bucket/name or gs://bucket/name, got "
            f"{str(found)!r}: {explain(error)}.",
        ) from error
    return found


@lru_cache(maxsize=64)
def _open_bucket(address: str) -> tuple[Any, str]:
    """Return the file system of a bucket, and the bucket's path in it."""
    arrow = require("pyarrow.fs", extra="ray")
    lib = require("pyarrow", extra="ray")
    try:
        filesystem, root = arrow.FileSystem.from_uri(address)
    except lib.ArrowInvalid:  # pyarrow does not know this kind of address
        filesystem, root = require("fsspec.core", extra="ray").url_to_fs(address)
        return arrow.PyFileSystem(arrow.FSSpecHandler(filesystem)), root.rstrip("/")
    return filesystem, root.rstrip("/")


def explain(error: BaseException) -> str:
    """Return why a file can't be read, in one short line; errors of pyarrow can fill pages."""
    strerror = getattr(error, "strerror", None)
    text = " ".join(str(strerror or error or type(error).__name__).split())
    return shorten(text, limit=_MAX_REASON).rstrip(".")
