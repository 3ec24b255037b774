"""Files of a training's state in a folder on a disk or in a bucket, one for each of some epochs."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal.temporaries import temporary_folder
from tlkit.distributed.storage import Location, explain
from tlkit.errors import Argument, ConfigError, StoreError
from tlkit.training.checkpoint_files import (
    ENDING,
    SavedState,
    load_last,
    name_state,
    parse_name,
    read_state,
    to_bytes,
)


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
        StoreError: The state can't be written, or an old one can't be deleted.
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
        names = [each.name for each in folder.list_files(ENDING)] if folder.is_folder else []
    except OSError as error:
        raise ConfigError(
            Argument("checkpoint"),
            f" must be a folder that can be read, got '{folder}': {explain(error)}.",
        ) from error
    return sorted(number for number in map(parse_name, names) if number >= 0)


def read(folder: Location, epoch: int) -> SavedState | None:
    """Return the state after an epoch; None if it is damaged or missing.

    Raises:
        StoreError: The file exists, but can't be read.
    """
    file = _locate(folder, epoch)
    if file.is_local:
        return read_state(Path(file.text))
    with temporary_folder() as copies:
        try:
            if file.stat() is None:  # fsspec calls a file missing that may not be read
                return None
            with file.open() as opened, (copies / file.name).open("wb") as copy:
                shutil.copyfileobj(opened, copy)
        except OSError as error:
            raise StoreError(f"Can't read '{file}': {explain(error)}.") from error
        return read_state(copies / file.name)


def read_last(folder: Location) -> SavedState | None:
    """Return the last state that is not damaged; None if nothing was saved.

    Raises:
        ConfigError: The folder can't be read.
        StoreError: There are states, but all are damaged, or one can't be read.

    Warns:
        UserWarning: The last state is damaged.
    """
    epochs = list_epochs(folder)
    return load_last(
        [_locate(folder, epoch) for epoch in epochs],
        lambda file: read(folder, parse_name(file.name)),
        folder=folder,
    )


def _locate(folder: Location, epoch: int) -> Location:
    return folder.join(name_state(epoch))
