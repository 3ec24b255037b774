"""The SHA-256 of every file of a run in one list, to find files that were changed later."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tlkit._internal import arguments, regular_files, text
from tlkit._internal.files import TEMPORARY, rename, replace_atomically
from tlkit.errors import Argument, ConfigError, DataError

NAME = "SHA256SUMS"
"""The name of the list, in the form of `sha256sum`, which can check it too."""

_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00\r\n]+)")
_EDITABLE = (".bib", ".html", ".md", ".png", ".txt")
_KEPT = ".edited"
_UNLISTED = (NAME, "state.json")  # the state changes while a run is written


@dataclass(frozen=True, kw_only=True)
class VerifiedRun:
    """The result of comparing the files of a run with their checksums.

    Attributes:
        folder: The run's folder.
        num_files: How many files are unchanged.
        edited: Pages, cards and pictures that were changed or removed later. tlkit does not read
            them, so you may edit them.
        unlisted: Files that the run did not write.
    """

    folder: Path
    num_files: int
    edited: tuple[str, ...]
    unlisted: tuple[str, ...]

    def __str__(self) -> str:
        """Return the result in one to three lines."""
        lines = [f"{text.plural(self.num_files, 'file')} of {self.folder} are as they were written"]
        if self.edited:
            lines.append(
                f"changed or removed since, which does no harm: {text.join_first(self.edited)}"
            )
        if self.unlisted:
            lines.append(f"not of the run: {text.join_first(self.unlisted)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as values that JSON can hold."""
        return {**vars(self), "folder": str(self.folder)}


def verify_run(run: str | Path, *, accept: bool = False) -> VerifiedRun:
    """Compare every file of a run with its SHA-256, which the run's `SHA256SUMS` lists.

    The list finds damage and mistakes. It can't find a file that was changed together with its line
    in the list.

    Args:
        run: The run's folder.
        accept: Whether to accept the files in their present state, after you changed one on
            purpose.

    Raises:
        ConfigError: The folder has no such list, or the list is damaged.
        DataError: A file that tlkit reads was changed or removed later: the model, settings,
            metrics, history, split, or an export.
    """
    folder = arguments.path("run", run)
    if not (folder / NAME).is_file() and not (accept and (folder / "config.json").is_file()):
        raise ConfigError(
            Argument("run"),
            f" must be a run's folder with a file {NAME}, got {str(run)!r}, which has none.",
        )
    if accept:
        write(folder)
    sums = read(folder)
    changed = [name for name, digests in sums.items() if _digest(folder / name) not in digests]
    broken = [name for name in changed if not is_editable(name)]
    if broken:
        count = text.plural(len(broken), "file").capitalize()
        raise DataError(
            f"{count} of the run {str(folder)!r} changed since it was written, or can't be read: "
            f"{text.join_first(broken)}. {_advise(folder)}"
        )
    return VerifiedRun(
        folder=folder,
        num_files=len(sums) - len(changed),
        edited=tuple(changed),
        unlisted=tuple(name for name in _list_files(folder) if name not in sums),
    )


def is_editable(name: str) -> bool:
    """Return whether a file of a run is a page, a card or a picture, which may be edited."""
    return name.endswith(_EDITABLE)


def keep_edited(folder: Path) -> None:
    """Rename pages and cards that were edited, so that new ones do not replace them."""
    if not (folder / NAME).is_file():
        return
    for name, digests in read(folder).items():
        path = folder / name
        if is_editable(name) and path.is_file() and _digest(path) not in digests:
            rename(path, path.with_name(f"{path.name}{_KEPT}"))


def check(path: Path, content: bytes | None = None) -> None:
    """Check a file of a run against the run's list; a run without a list is not checked.

    Args:
        path: The file, which exists.
        content: The content of the file, if it has been read already.

    Raises:
        ConfigError: The file has changed since it was written.
        OSError: The file can't be read.
    """
    folder = path.parent
    if path.name in _UNLISTED or not (folder / NAME).exists():  # an older run, or not a run
        return
    expected = read(folder).get(path.name)
    found = _digest(path, content)
    if found is None:
        regular_files.open_regular(path).close()  # raises the reason
    if expected is None or found not in expected:
        why = (
            f"{NAME} does not list it" if expected is None else f"its SHA-256 is not that in {NAME}"
        )
        raise ConfigError(
            f"{str(path)!r} must be as the run wrote it, got a file that is damaged or was "
            f"changed: {why}. {_advise(folder)}"
        )


def _advise(folder: Path) -> str:
    return (
        "Restore it from a copy of the run; a change on purpose is accepted with "
        f"`tlkit verify {folder} --accept`."
    )


def write(folder: Path) -> None:
    """List the SHA-256 of every file in a folder; call it when all files are written."""
    sums = {name: (hash_file(folder / name),) for name in _list_files(folder)}
    _write(folder, sums)


def update(folder: Path, files: Iterable[Path]) -> None:
    """Update the list of a run after files were written; a run without a list gets no list.

    Args:
        folder: The run's folder.
        files: Files, and folders with all their files; those outside of the run are ignored.
    """
    if not (folder / NAME).is_file():
        return
    root = folder.resolve()
    inside = [each.resolve() for each in files if each.resolve().is_relative_to(root)]
    written = {PurePosixPath(each.relative_to(root).as_posix()) for each in inside}

    def is_written(name: str) -> bool:
        return not written.isdisjoint((PurePosixPath(name), *PurePosixPath(name).parents))

    others = {name: known for name, known in read(folder).items() if not is_written(name)}
    found = filter(is_written, _list_files(folder))
    _write(folder, others | {name: (hash_file(folder / name),) for name in found})


def update_pages(folder: Path) -> None:
    """Update the list of a run after pages, cards and pictures were written."""
    update(folder, (each for each in folder.iterdir() if is_editable(each.name)))


@contextmanager
def replace_listed(target: Path) -> Iterator[Path]:
    """Replace a file of a run atomically, and its SHA-256 in the list.

    If a process is killed in between, the list has both the old and the new SHA-256.
    """
    folder, listed = target.parent, (target.parent / NAME).is_file()
    with replace_atomically(target) as temporary:
        yield temporary
        new = hash_file(temporary)
        if listed:
            sums = read(folder)
            _write(folder, sums | {target.name: (*sums.get(target.name, ()), new)})
    if listed:
        _write(folder, read(folder) | {target.name: (new,)})


def read(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the SHA-256 of each file in a run's list: one, or an old and a new SHA-256.

    Raises:
        ConfigError: The list is damaged.
    """
    path = folder / NAME
    try:
        lines = regular_files.read_text(path).splitlines()
    except OSError as error:
        raise ConfigError(f"Can't read {str(path)!r}: {regular_files.reason(error)}.") from error
    sums: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None or not _is_inside(found[2]):
            raise ConfigError(
                f"{str(path)!r} must have a SHA-256, two spaces and the name of a file of the run "
                f"in each line, got another line {number}. Restore it from a copy of the run, or "
                f"write it anew with `tlkit verify {folder} --accept`."
            )
        sums[found[2]] = (*sums.get(found[2], ()), found[1])
    return sums


def format_sums(sums: Mapping[str, Iterable[str]]) -> str:
    """Return the text of a list with these SHA-256."""
    return "".join(f"{each}  {name}\n" for name in sorted(sums) for each in sums[name])


def _write(folder: Path, sums: Mapping[str, Iterable[str]]) -> None:
    with replace_atomically(folder / NAME) as temporary:
        temporary.write_text(format_sums(sums), encoding="utf-8", newline="\n")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _list_files(folder: Path) -> list[str]:
    """Return the files in a folder except hidden and temporary ones, the list, and the state."""
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [
        name.as_posix()
        for name in names
        if name.as_posix() not in _UNLISTED
        and not any(part.startswith((".", TEMPORARY)) for part in name.parts)
        and _LINE.fullmatch(f"{'0' * 64}  {name.as_posix()}")
    ]


def _digest(path: Path, content: bytes | None = None) -> str | None:
    """Return the SHA-256 of a file; None if it can't be read."""
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    try:
        return hash_file(path)
    except OSError:
        return None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with regular_files.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
