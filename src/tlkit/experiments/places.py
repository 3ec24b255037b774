"""Check that the folders and tables of an experiment exist; without importing Keras."""

from pathlib import Path

from tlkit._internal import arguments
from tlkit._internal.regular_files import exists
from tlkit._internal.text import join_first, show
from tlkit.data import manifests
from tlkit.data.dataset_names import NAMES
from tlkit.errors import Argument, ConfigError


def check_data(place: str) -> None:
    """Check that a folder or table of images exists.

    Raises:
        ConfigError: There is no such file, or it is neither a folder nor a table.
    """
    path = Path(place)
    found = exists(place)
    if found and (path.is_dir() or path.suffix.lower() in manifests.SUFFIXES):
        return
    why = "it is neither" if found else "no such file"
    raise ConfigError(
        Argument("data"),
        " must be a folder with a subfolder for each class, a .csv or .parquet table, an .npz "
        f"file, {join_first(list(map(repr, NAMES)), word='or')}, got {show(place)}: {why}."
        f"{arguments.nearest(place, NAMES)}",
    )


def check_added(place: str) -> None:
    """Check that a folder or table of more images exists.

    Raises:
        ConfigError: There is no such file.
    """
    if not exists(place):
        raise ConfigError(
            Argument("add"),
            " must be folders with a subfolder for each class, or .csv or .parquet tables, got "
            f"{place!r}: no such file.",
        )
