"""Files of a training's state in a folder on a disk or in a bucket, one for each of some epochs."""

import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import user_warnings
from tlkit._internal.temporaries import temporary_folder
from tlkit.distributed.storage import Location, explain
from tlkit.errors import Argument, ConfigError, StoreError
from tlkit.training.checkpoint_files import SavedState, read_state, to_bytes

_ENDING = ".safetensors"
_NAME = re.compile(r"state-(\d+)\.safetensors")


def write(
    folder: Location,
    epoch: int,
    values: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    keep_epochs: Collection[int],
) -> None:
    """Write the state after an epoch atomically, and delete those of other epochs.

    Args:
        folder: The folder.
        epoch: The number of finished epochs.
        values: Values that JSON supports.
        arrays: Arrays by name.
        keep_epochs: The epochs whose states stay besides this one.

    Raises:
        StoreError: The state can't be written.
    """
    folder.make_folder()
    _locate(folder, epoch).write(to_bytes(values, arrays))
    for old in list_epochs(folder):
        if old != epoch and old not in keep_epochs:
            _locate(folder, old).remove()


def list_epochs(folder: Location) -> list[int]:
    """Return the epochs whose states are in a folder; none if it does not exist.

    Raises:
        ConfigError: The folder can't be read.
    """
    try:
        names = [each.name for each in folder.list_files(_ENDING)] if folder.is_folder else []
    except OSError as error:
        raise ConfigError(
            Argument("checkpoint"),
            f" must be a folder that can be read, got '{folder}': {explain(error)}.",
        ) from error
    return sorted(int(found[1]) for found in map(_NAME.fullmatch, names) if found)


def read(folder: Location, epoch: int) -> SavedState | None:
    """Return the state after an epoch; None if it is damaged or missing."""
    file = _locate(folder, epoch)
    if file.is_local:
        return read_state(Path(file.text))
    with temporary_folder() as copies:
        try:
            with file.open() as opened, (copies / file.name).open("wb") as copy:
                shutil.copyfileobj(opened, copy)
        except OSError:
            return None
        return read_state(copies / file.name)


def read_last(folder: Location) -> SavedState | None:
    """Return the last state that is not damaged; None if nothing was saved.

    Raises:
        ConfigError: The folder can't be read.
        StoreError: There are states, but all are damaged.

    Warns:
        UserWarning: The last state is damaged.
    """
    epochs = list_epochs(folder)
    for epoch in reversed(epochs):
        state = read(folder, epoch)
        if state is not None:
            return state
        user_warnings.warn(
            f"The checkpoint of epoch {epoch} in '{folder}' is damaged; training goes on from an "
            "earlier one if there is one."
        )
    if epochs:
        raise StoreError(
            f"Every checkpoint in '{folder}' is damaged. Delete the folder to train from the start."
        )
    return None


def _locate(folder: Location, epoch: int) -> Location:
    return folder.join(f"state-{epoch:06}{_ENDING}")
