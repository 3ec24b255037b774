"""Save the result of an experiment as a run: first the files, then the report."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit._internal import text
from tlkit.caching.cache import Cache
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import StoreError
from tlkit.experiments import array_data, folds, run_folder, split_csv
from tlkit.experiments.experiment import PLACES, Experiment
from tlkit.experiments.loading import image_size_of
from tlkit.experiments.reporting import gather_facts, list_weights, write_report

if TYPE_CHECKING:
    from tlkit.experiments.result import ExperimentResult


def list_places(experiment: Experiment) -> dict[str, str]:
    """Return the paths of the images, by the name of the setting."""
    return {name: getattr(experiment, name) for name in PLACES if getattr(experiment, name)}


def save(
    experiment: Experiment,
    source: ImageDataset,
    result: "ExperimentResult",
    *,
    command: str,
    joules: float | None,
    on_message: Callable[[object], None],
    cache: Cache | None = None,
    others: Sequence[Mapping[str, Any]] = (),
    is_claimed: bool = True,
    listing: str | None = None,
) -> None:
    """Write model, metrics and config of an experiment to its folder, and then the report.

    Args:
        experiment: The settings.
        source: All images.
        result: The result of the experiment.
        command: The command that repeats the run.
        joules: The energy used; None if it was not measured.
        on_message: Is called with the reason if the report can't be written.
        cache: Where the features that the head reads are stored; None if they are not stored.
        others: The results of other classifiers on the test images, as for `ReportFacts`.
        is_claimed: As for `run_folder.save_run`.
        listing: The text of `split.csv`; by default that of the result's split.

    Raises:
        StoreError: The folder can't be written; the message names the folder used instead.
    """
    found = result.cross_validation
    named = " ".join([experiment.backbone, *list_weights(experiment)])
    size = text.pixels(image_size_of(experiment))
    making = _describe_making(experiment, result, command=command, joules=joules, others=others)
    write = partial(
        run_folder.save_run,
        model=result.trained.model,
        run=result.trained.run,
        evaluation=result.evaluation,
        figures={},
        about=f"{experiment.recipe} on {source.name}, {size}, {named}",
        config={"experiment": experiment.to_dict(), "making": making},
        files={split_csv.NAME: listing or split_csv.format_split(result.split)}
        if found is None
        else folds.to_files(source, found),
        metrics={} if found is None else {"folds": found.to_dict()},
    )
    try:
        write(result.folder, is_claimed=is_claimed)
    except StoreError as error:  # the disk may be full, so the run is saved to another folder
        other = Path(tempfile.mkdtemp(prefix="tlkit-run-")) / "run"
        write(other)
        raise StoreError(f"{error} The run is in '{other}' instead.") from error
    gather = partial(
        gather_facts,
        experiment,
        source,
        result.split,
        result.trained,
        result.evaluation,
        making={**making, "divided": result.divided},
        validated=found,
        cache=cache,
    )
    write_report(result.folder, gather, on_message)


def _describe_making(
    experiment: Experiment,
    result: "ExperimentResult",
    *,
    command: str,
    joules: float | None,
    others: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return a record of how a run was made, as values that JSON can hold."""
    additions, search, choice = result.additions, result.search, result.trained.choice
    places = list_places(experiment)
    return {
        "command": command,
        "seconds": result.trained.seconds,
        "joules": joules,
        "probed": result.trained.has_probed,
        "others": list(others),
        **{
            name: place if _is_fixed(place) else str(Path(place).resolve())
            for name, place in places.items()
        },
        "add": [str(Path(place).resolve()) for place in experiment.add],
        "additions": None if additions is None else additions.to_dict(),
        "search": None if search is None else search.to_dict(),
        "choice": None if choice is None else choice.to_dict(),
        "divided": None if result.divided is None else result.divided.to_dict(),
    }


def _is_fixed(place: str) -> bool:
    """Return whether a place is the same from each folder: the name of a set, or an address."""
    return array_data.is_name(place) or "://" in place
