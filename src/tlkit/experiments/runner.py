"""Run a whole experiment: from images on disk to a folder with model, metrics and report."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import keras

from tlkit._internal.signatures import check_arguments
from tlkit.caching.cache import Cache
from tlkit.caching.progress import CacheProgress, show_waiting
from tlkit.caching.usage import Usage
from tlkit.data import scanning
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation import calibration, ood
from tlkit.evaluation.evaluator import evaluate
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.probing.search_result import BackboneSearch
from tlkit.experiments import (
    backbone_choice,
    cluster_settings,
    cluster_training,
    energy,
    folds,
    run_saving,
    run_state,
)
from tlkit.experiments.additions import measure
from tlkit.experiments.experiment import Experiment, check_name
from tlkit.experiments.experiment_training import STORED, train, train_on
from tlkit.experiments.loading import load_used, split_images
from tlkit.experiments.reporting import plan
from tlkit.experiments.result import ExperimentResult
from tlkit.experiments.stages import Stages, describe
from tlkit.experiments.trained import Trained
from tlkit.models.builder import accept_any_size
from tlkit.models.inspection import probabilities_of
from tlkit.training import ood_detector
from tlkit.training.checkpoint_files import CheckpointFolder

_MIN_FOR_THRESHOLD = 100  # validation images


@check_arguments
def run(
    experiment: Experiment,
    folder: str | Path,
    *,
    command: str = "",
    cache: Cache | None = STORED,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_message: Callable[[object], None] = lambda message: None,
    resume: bool = True,
    verbose: bool = False,
) -> ExperimentResult:
    """Train and evaluate a classifier, and write model, metrics, report and config to a folder.

    Args:
        experiment: The settings.
        folder: The run's folder; it must be new, empty, or hold an unfinished run with the same
            settings (see `resume`). It is created at the start; its `state.json` holds the state of
            the run, and its hidden folder `.checkpoint` the state of training after each epoch.
        command: The command that was typed, for the report; by default this call.
        cache: How the frozen part is computed and its features are stored; by default they are
            stored for later experiments in a shared folder. None neither stores nor caches.
        callbacks: Keras callbacks, called after every epoch of every phase; a solved head has one
            epoch. On a cluster they are called after each phase, for all of its epochs; those of
            Keras that control training or save the model are refused there if the recipe trains in
            epochs. See `tlkit.training.trackers`.
        on_message: Is called with the plan before training, and with the results after it, for
            example `print`.
        resume: Whether to continue an unfinished run, which was killed or interrupted, from its
            last epoch; False starts again. A run whose budget ran out needs a larger budget.
        verbose: Whether to print a line for every epoch.

    Raises:
        ConfigError: The folder holds other files, another process trains into it, its unfinished
            run has other settings, or a value is wrong.
        DataError: The images have problems; the message lists them.
        DownloadError: Weights can't be downloaded.
        StoreError: The run can't be written to its folder; the message names the folder used
            instead.
        TrainingInterrupted: Ctrl-C stopped the training; its `run` records the epochs done.
    """
    check_name("folder", folder)
    for place in (*run_saving.list_places(experiment).values(), *experiment.add):
        _refuse_within(place, folder)
    cluster_settings.check(experiment)
    cluster_settings.check_callbacks(experiment, callbacks)
    command = command or f"experiments.run({experiment}, {str(folder)!r})"
    with run_state.claim(folder, experiment.to_dict(), command=command, resume=resume) as claim:
        if claim.is_resumed:
            on_message(f"going on with the unfinished run in {claim.folder}")
        train_run = _run if experiment.cluster is None else cluster_training.run
        result = train_run(
            experiment,
            claim,
            command=command,
            cache=cache,
            callbacks=callbacks,
            on_message=on_message,
            verbose=verbose,
        )
        _print_end(claim, result.stages, on_message)
    return result


def _run(
    experiment: Experiment,
    claim: run_state.Claim,
    *,
    command: str,
    cache: Cache | None,
    callbacks: Sequence[keras.callbacks.Callback],
    on_message: Callable[[object], None],
    verbose: bool,
) -> ExperimentResult:
    """Run an experiment in the folder that this process holds."""
    stages, usage = Stages(), Usage()
    reading = closing(CacheProgress(verbose=verbose, title="reading images"))
    with stages.measure("images"), reading as progress, scanning.observe(progress.update):
        experiment, source, parts = _load(experiment, on_message)
    cache = None if cache is None else replace(cache, usage=usage, engines={})
    search, chosen = None, None
    if experiment.is_search:
        with stages.measure("search"):
            search = _search(experiment, parts.train, claim, cache=cache, on_message=on_message)
        on_message(search)
        experiment, parts, chosen = backbone_choice.take_recommended(experiment, parts, search)
    fit = partial(train, chosen=chosen, cache=cache)
    with stages.measure("training"), energy.measure_energy() as used:
        how: dict[str, Any] = {"callbacks": callbacks, "checkpoint": claim.checkpoint / "train"}
        trained = fit(experiment, parts, verbose=verbose, **how)
    if not claim.is_resumed:  # or the seconds of phases are partly those of earlier processes
        stages.divide("training", trained)
    claim.ran_out = trained.budget_ran_out is not None
    stored = cache if cache and cache.folder and _is_backbone_unchanged(trained) else None
    with stages.measure("evaluation"):
        result = _evaluate(
            experiment,
            source,
            parts,
            trained,
            claim=claim,
            fit=fit,
            cache=cache,
            stored=stored,
            on_message=on_message,
            verbose=verbose,
        )
    trained = replace(trained, model=accept_any_size(trained.model))
    result = replace(result, search=search, trained=trained)
    said = (usage if usage.num_images else None, result.evaluation, result.additions)
    for message in filter(None, said):
        on_message(message)
    with stages.measure("report"), show_waiting("drawing the report", verbose=verbose):
        run_saving.save(
            experiment,
            source,
            result,
            command=command,
            joules=used.joules,
            on_message=on_message,
            cache=None if experiment.folds else stored,
        )
    return replace(result, stages=stages.seconds)


def _print_end(
    claim: run_state.Claim, seconds: Mapping[str, float], on_message: Callable[[object], None]
) -> None:
    """Print how long each stage took, where the report is, and what to do next."""
    since = "since it went on: " if claim.is_resumed else ""
    on_message(f"{since}{describe(seconds)}\nwrote {claim.folder / 'report.html'}")
    run_name = shlex.quote(str(claim.folder))
    on_message(f"next: open it in a browser, or type tlkit predict {run_name} IMAGE")


def _evaluate(
    experiment: Experiment,
    source: ImageDataset,
    parts: Split,
    trained: Trained,
    *,
    claim: run_state.Claim,
    on_message: Callable[[object], None],
    fit: Callable[..., Trained],
    cache: Cache | None,
    stored: Cache | None,
    verbose: bool,
) -> ExperimentResult:
    """Calibrate and evaluate a classifier, on test images or by folds.

    Args:
        experiment: The settings.
        source: All images.
        parts: The split.
        trained: The classifier.
        claim: The run's folder.
        on_message: As for `run`.
        fit: A function that trains another classifier on some of the images.
        cache: As for `run`.
        stored: Where the features that the head reads are stored; None if they are not stored.
        verbose: As for `run`.
    """
    folded = None
    if experiment.folds:
        how: dict[str, Any] = {"cache": cache, "verbose": verbose}
        again = partial(train_on, experiment, count(1), claim.checkpoint, **how)
        folded = folds.evaluate_folds(experiment, source, trained, train=again, cache=stored)
        parts = replace(parts, test=source)
        on_message(folded.summary())
    _calibrate(trained, parts.validation, cache=stored, on_message=on_message)
    evaluation = (
        folded.pooled
        if folded
        else evaluate(trained.model, parts.test, cache=stored, verbose=verbose)
    )
    additions = None
    if experiment.add:
        is_quick = stored is not None and not experiment.folds
        fit_before = partial(fit, checkpoint=claim.checkpoint / "before")
        before = partial(_evaluate_before, experiment, cache, fit_before) if is_quick else None
        additions = measure(parts, evaluation, before)
    return ExperimentResult(
        folder=claim.folder,
        split=parts,
        trained=trained,
        evaluation=evaluation,
        cross_validation=folded,
        additions=additions,
    )


def _search(
    experiment: Experiment,
    train: ImageDataset,
    claim: run_state.Claim,
    *,
    cache: Cache | None,
    on_message: Callable[[object], None],
) -> BackboneSearch:
    """Compare backbones, or return the result that an earlier process of this run stored."""
    folder = CheckpointFolder(claim.checkpoint)
    kept = folder.read_notes().get("search")
    if kept is not None:
        return BackboneSearch.from_dict(kept)
    found = backbone_choice.search(experiment, train, cache=cache, on_message=on_message)
    if found.recommended is not None:
        folder.write_notes({"search": found.to_dict()})
    return found


def _load(
    experiment: Experiment, on_message: Callable[[object], None]
) -> tuple[Experiment, ImageDataset, Split]:
    """Return an experiment ready to start, all its images and its split; report the plan."""
    experiment = backbone_choice.prepare(experiment, on_message)
    source = load_used(experiment)
    experiment = replace(experiment, white=source.white)  # for predictions
    parts = split_images(experiment, source)
    on_message(plan(source, parts))
    if experiment.folds:
        on_message(folds.describe(experiment, source))
    return experiment, source, parts


def _calibrate(
    trained: Trained,
    validation: ImageDataset,
    *,
    cache: Cache | None,
    on_message: Callable[[object], None],
) -> None:
    """Fit temperature and thresholds of a classifier to the validation images, if there are any."""
    if len(validation):
        on_message(calibration.calibrate(trained.model, validation, cache=cache))
        _fit_threshold(trained, validation)
    elif validation.is_multi_label:
        on_message("threshold 0.5 for every class, because there are no validation images")


def _evaluate_before(
    experiment: Experiment, cache: Cache | None, fit: Callable[..., Trained], split: Split
) -> Evaluation:
    """Train on the old images only, and evaluate on their test images."""
    trained = fit(experiment, split, verbose=False)
    return evaluate(trained.model, split.test, cache=cache)


def _is_backbone_unchanged(trained: Trained) -> bool:
    """Return whether only the head was trained, so that its features are worth storing."""
    return [phase.name for phase in trained.run.phases] == ["head"]


def _fit_threshold(trained: Trained, validation: ImageDataset) -> None:
    """After fine-tuning, set the threshold of the out-of-distribution score on other images."""
    is_fitted = ood_detector.from_arrays(probabilities_of(trained.model).stored) is not None
    if len(trained.run.phases) > 1 and len(validation) >= _MIN_FOR_THRESHOLD and is_fitted:
        ood.fit_threshold(trained.model, validation)


def _refuse_within(images: str, folder: str | Path) -> None:
    """Refuse a run's folder inside the images, where its figures would be read as images."""
    place = Path(images).resolve()
    if place.is_dir() and Path(folder).resolve().is_relative_to(place):
        raise ConfigError(
            Argument("folder"),
            f" must be outside the folder of images {images!r}, got {str(folder)!r}: its "
            "figures would be read as images of a class.",
        )
