"""Save a classifier that a program trained step by step as the run of an experiment."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tlkit._internal import user_warnings
from tlkit._internal.signatures import check_arguments
from tlkit.data.splits import Split
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.significance import mcnemar
from tlkit.experiments import run_folder, run_saving
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import load_images, resolve
from tlkit.experiments.result import ExperimentResult
from tlkit.experiments.trained import Trained
from tlkit.models.builder import accept_any_size


@check_arguments
def save_training(
    experiment: Experiment,
    folder: str | Path,
    *,
    images: Split,
    trained: Trained,
    evaluation: Evaluation,
    command: str = "",
    others: Mapping[str, Evaluation] = MappingProxyType({}),
) -> Path:
    """Save a training as a run, with its report, as `run` does for a training that it starts.

    `tlkit compare`, `evaluate`, `report` and all other commands accept the folder like that of
    `tlkit train`.

    Args:
        experiment: The settings with which the program trained; its recipe has at least the phases
            that were trained.
        folder: The run's folder; it must be new or empty.
        images: The result of `load_split(experiment)`.
        trained: The classifier and the record of its training.
        evaluation: The metrics on the test images.
        command: The command that repeats the run, for the report.
        others: The evaluations of other classifiers on the same test images, by name; the report
            compares the classifier with each.

    Returns:
        The run's folder.

    Raises:
        ConfigError: The folder is not empty.
        DataError: The images can't be read any more, or `others` were measured on other images.
        StoreError: The folder can't be written; the message names the folder used instead.

    Warns:
        UserWarning: The report can't be written; the run is saved without it.
    """
    target = run_folder.require_empty(folder)
    compared = [_compare(name, other, evaluation) for name, other in others.items()]
    ready = resolve(experiment)
    source = load_images(ready)
    ready = replace(ready, white=source.white)  # for predictions
    trained = replace(trained, model=accept_any_size(trained.model))
    result = ExperimentResult(folder=target, split=images, trained=trained, evaluation=evaluation)
    run_saving.save(
        ready,
        source,
        result,
        command=command,
        joules=None,
        on_message=lambda message: user_warnings.warn(str(message)),
        others=compared,
        is_claimed=False,
    )
    return target


def _compare(name: str, other: Evaluation, own: Evaluation) -> dict[str, Any]:
    """Return the results of another classifier, and the difference from them, for the report."""
    test = mcnemar(other, own)
    return {
        "name": name,
        "accuracy": other.accuracy,
        "interval": other.accuracy_interval,
        "loss": other.loss,
        "difference": test.difference.mean,
        "difference_interval": test.difference.interval,
        "p_value": test.p_value,
    }
