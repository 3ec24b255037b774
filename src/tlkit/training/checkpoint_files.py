"""The files of a checkpoint: the last two states of a run, each written atomically."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy

from tlkit._internal import arguments, files, user_warnings
from tlkit.errors import ConfigError, StoreError

_PREFIX = "state-"
ENDING = ".safetensors"
"""The ending of the names of states."""
File = TypeVar("File")

_KEPT = 2
_NOTES = "notes.json"
_MAX_NOTES = 2**20  # bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedState:
    """The state of a run at one moment.

    Attributes:
        values: Values that JSON supports.
        arrays: Arrays by name.
    """

    values: dict[str, Any]
    arrays: dict[str, np.ndarray]


class CheckpointFolder:
    """A folder with the last two states of a run, and notes about it.

    A state is one safetensors file with a checksum of its content. It is written to a temporary
    name, synced to the disk and renamed, so that a killed process or a power cut leaves the
    previous state. Equal arrays, such as weights that are also the best so far, are stored once.

    Args:
        folder: The folder; it is created with the first state.

    Raises:
        ConfigError: `folder` is not a path, or not a folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = arguments.path("checkpoint", folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(
                f"`checkpoint` must be a folder, got {str(folder)!r}, which is a file."
            )

    def save(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write a state, and remove all states except the last two.

        Args:
            values: Values that JSON supports.
            arrays: Arrays by name.

        Raises:
            StoreError: The state can't be written.
        """
        states = self._list_states()
        number = 1 + (parse_name(states[-1].name) if states else 0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / name_state(number)
            with files.replace_atomically(path) as temporary:
                temporary.write_bytes(to_bytes(values, arrays))
            for old in states[: 1 - _KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise files.to_write_error(self.folder, error) from error

    def load(self) -> SavedState | None:
        """Return the last undamaged state; None if nothing was saved.

        Raises:
            StoreError: There are states, but all are damaged, or one can't be read.

        Warns:
            UserWarning: The last state is damaged, and an earlier one is returned.
        """
        return load_last(self._list_states(), read_state, folder=self.folder)

    def drop_last(self) -> None:
        """Remove the last state, so that `load` returns the one before it."""
        for path in self._list_states()[-1:]:
            path.unlink()

    def read_notes(self) -> dict[str, Any]:
        """Return the notes of `write_notes`; empty if there are none or the file is damaged."""
        path = self.folder / _NOTES
        try:
            if path.stat().st_size > _MAX_NOTES:
                return {}
            notes = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def write_notes(self, notes: Mapping[str, Any]) -> None:
        """Store values that JSON supports beside the states.

        Raises:
            StoreError: The file can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with files.replace_atomically(self.folder / _NOTES) as temporary:
                temporary.write_text(json.dumps(notes), encoding="utf-8")
        except OSError as error:
            raise files.to_write_error(self.folder, error) from error

    def _list_states(self) -> list[Path]:
        """Return the files of states, the oldest first."""
        found = self.folder.glob(f"{_PREFIX}*{ENDING}") if self.folder.is_dir() else ()
        numbered = {parse_name(path.name): path for path in found}
        return [numbered[number] for number in sorted(numbered) if number >= 0]


def name_state(number: int) -> str:
    """Return the name of the file of a state.

    Examples:
        >>> name_state(7), parse_name("state-000007.safetensors"), parse_name("model.safetensors")
        ('state-000007.safetensors', 7, -1)
    """
    return f"{_PREFIX}{number:06}{ENDING}"


def parse_name(name: str) -> int:
    """Return the number of a state from the name of its file; -1 for another file."""
    text = name.removeprefix(_PREFIX).removesuffix(ENDING)
    is_state = text.isascii() and text.isdecimal() and name == f"{_PREFIX}{text}{ENDING}"
    return int(text) if is_state else -1


def load_last(
    files: Sequence[File], read: Callable[[File], SavedState | None], *, folder: object
) -> SavedState | None:
    """Return the state in the last file that is not damaged; None without files.

    Args:
        files: The files of states, the oldest first.
        read: Returns the state in a file; None if it is damaged.
        folder: The folder of the files, for the message.

    Raises:
        StoreError: There are files, but all are damaged, or one can't be read.

    Warns:
        UserWarning: The last state is damaged.
    """
    for file in reversed(files):
        state = read(file)
        if state is not None:
            return state
        user_warnings.warn(
            f"'{file}' is damaged; training goes on from an earlier checkpoint if there is one."
        )
    if files:
        raise StoreError(
            f"Every checkpoint in '{folder}' is damaged. Delete the folder to train from the start."
        )
    return None


def to_bytes(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of a state's file.

    Args:
        values: Values that JSON supports.
        arrays: Arrays by name.
    """
    unique: dict[str, np.ndarray] = {}
    names = {}
    for name, array in arrays.items():
        stored, dtype = _to_storable(array)
        key = _digest(stored, dtype)
        unique[key] = stored
        names[name] = [key, dtype]
    text = json.dumps({"values": values, "arrays": names})
    digest = hashlib.sha256(text.encode()).hexdigest()
    return safetensors.numpy.save(unique, metadata={"state": text, "sha256": digest})


def _to_storable(array: np.ndarray) -> tuple[np.ndarray, str]:
    """Return an array in a form that safetensors supports, and the name of its dtype."""
    whole = np.array(array, order="C")
    name = whole.dtype.name
    return (whole.view("uint16"), name) if name == "bfloat16" else (whole, name)


def _digest(array: np.ndarray, dtype: str) -> str:
    header = f"{dtype} {array.shape} ".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def read_state(path: Path) -> SavedState | None:
    """Return the state in a file; None if it is damaged or missing.

    Raises:
        StoreError: The file exists, but can't be read.
    """
    try:
        path.open("rb").close()  # safetensors raises the same error for content and permissions
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"Can't read '{path}': {error.strerror or error}.") from error
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            unique = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        text = metadata["state"]
        if hashlib.sha256(text.encode()).hexdigest() != metadata["sha256"]:
            return None
        found = json.loads(text)
        arrays = {}
        for name, (key, dtype) in found["arrays"].items():
            if _digest(unique[key], dtype) != key:
                return None
            arrays[name] = unique[key]
        return SavedState(values=found["values"], arrays=arrays)
    except (OSError, safetensors.SafetensorError, ValueError, LookupError, TypeError):
        return None
