"""Check that what a command reads and writes to exists, before it imports Keras for seconds."""

from collections.abc import Sequence
from pathlib import Path

from tlkit._internal.regular_files import exists
from tlkit._internal.text import join_first, show
from tlkit.data.dataset_names import NAMES
from tlkit.errors import Argument, ConfigError
from tlkit.experiments import places
from tlkit.experiments.experiment import Experiment


def check_model(model: str, *, argument: str = "model", exported: bool = True) -> None:
    """Check that a run's folder or the file of a classifier exists.

    Args:
        model: What was typed.
        argument: The name of the argument, for the error.
        exported: Whether the command takes exported files, too.

    Raises:
        ConfigError: There is no such file or folder.
    """
    if not exists(model):
        wanted = "a run's folder or a .keras file"
        if exported:
            wanted = "a run's folder, a .keras file or an exported file"
        raise ConfigError(
            Argument(argument), f" must be {wanted}, got {show(model)}: no such file or folder."
        )


def check_run(run: str) -> None:
    """Check that a run's folder exists.

    Raises:
        ConfigError: There is no such folder.
    """
    found = exists(run)
    if not found or not Path(run).is_dir():
        why = "it is not a folder" if found else "no such folder"
        raise ConfigError(Argument("run"), f" must be a run's folder, got {show(run)}: {why}.")


def check_files(files: Sequence[str]) -> None:
    """Check that at least one of the files and folders of images exists.

    Raises:
        ConfigError: None of them exists.
    """
    if files and not any(map(exists, files)):
        raise ConfigError(
            Argument("files"),
            f" must be image files, or folders of them, got {join_first(list(map(show, files)))}: "
            "no such file or folder.",
        )


def check_table(argument: str, path: Path | None, *suffixes: str) -> None:
    """Check where a table will be written.

    Raises:
        ConfigError: It has another suffix, or its folder does not exist.
        MissingExtraError: The extra for Parquet is not installed.
    """
    from tlkit._internal.table_files import check_target  # it imports NumPy

    if path is not None:
        check_target(argument, path, suffixes)


def check_images(place: str) -> None:
    """Check that a folder, table or .npz file of labelled images exists, or is a set's name.

    Raises:
        ConfigError: There is no such file or set.
    """
    is_arrays = Path(place).suffix.lower() == ".npz" and exists(place)
    if place not in NAMES and not is_arrays:
        places.check_data(place)


def check_experiment(experiment: Experiment) -> None:
    """Check that the images of an experiment exist, unless they may be out of this machine's reach.

    Raises:
        ConfigError: There is no such file or set.
    """
    if experiment.cluster is not None:
        return
    check_images(experiment.data)
    for place in experiment.add:
        places.check_added(place)
