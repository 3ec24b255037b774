"""Train the classifier of an experiment on a cluster, by features of its images."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import keras

from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.progress import show_waiting
from tlkit.distributed import cluster as clusters
from tlkit.distributed import drawn_split
from tlkit.distributed.drawn_split import Survey
from tlkit.distributed.feature_set import FeatureSet
from tlkit.distributed.head import start_shards
from tlkit.distributed.storage import Location
from tlkit.errors import Argument, DataError
from tlkit.experiments import (
    backbone_choice,
    cluster_epochs,
    cluster_saving,
    run_state,
)
from tlkit.experiments.cluster_head import ClusterHead
from tlkit.experiments.cluster_preparation import ClusterTraining, prepare
from tlkit.experiments.cluster_settings import FEATURES, TRAINED_FEATURES, name_features
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import image_size_of
from tlkit.experiments.recipe_checkpoint import RecipeCheckpoint
from tlkit.experiments.result import ExperimentResult
from tlkit.experiments.trained import Trained
from tlkit.models.builder import accept_any_size
from tlkit.training import finished_epochs, head_solver, verification
from tlkit.training.inputs import validate
from tlkit.training.phase import SolvedHead, plan_freezing
from tlkit.training.records import PhaseRun, Run, to_columns

MAX_SAMPLE = 5_000
"""The number of test images that are drawn for the figures."""


# The same training as on one machine, in another order: the head reads layers that a probe of some
# images chose, so the classifier is complete before the cluster starts. The cluster runs its
# backbone once for each image. What follows reads features only: sums over them solve the head and
# measure it, and rows of a sample calibrate it and make the figures. A phase that lasts epochs
# reads features of its own (`cluster_epochs.py`), and the backbone runs again after the last one.
# Memory of this process holds samples and sums, whose sizes do not depend on the number of images.
def run(
    experiment: Experiment,
    claim: run_state.Claim,
    *,
    command: str,
    cache: Cache | None,
    callbacks: Sequence[keras.callbacks.Callback],
    on_message: Callable[[object], None],
    verbose: bool,
) -> ExperimentResult:
    """Run an experiment on its cluster, into the folder that this process holds.

    Args:
        experiment: The settings, which `cluster_settings.check` accepts.
        claim: The run's folder.
        command: As for `tlkit.experiments.run`.
        cache: As for `tlkit.experiments.run`; features on the cluster are stored in any case.
        callbacks: As for `tlkit.experiments.run`.
        on_message: As for `tlkit.experiments.run`.
        verbose: As for `tlkit.experiments.run`.

    Raises:
        ConfigError: The cluster can't be reached, or its machines can't do the work.
        DataError: The images have problems; the message lists them.
    """
    experiment = backbone_choice.prepare(experiment, on_message)
    how: dict[str, Any] = {"cache": cache or DEFAULT, "on_message": on_message, "verbose": verbose}
    with clusters.connect(str(experiment.cluster)) as ray:
        training = prepare(experiment, claim, **how)
        cluster_epochs.check_machines(ray, training)
        with training.stages.measure("build and probe"):
            model = _build(training)
        solved, trained = _train(ray, training, model, callbacks)
        with training.stages.measure("evaluation"):
            if solved.survey.total("validation"):
                on_message(solved.calibrate())
            evaluation = solved.evaluate()
    on_message(evaluation)
    with training.stages.measure("report"), show_waiting("drawing the report", verbose=verbose):
        result = cluster_saving.save(
            training.experiment,
            training.listed,
            training.split,
            folder=claim.folder,
            sample=training.sample,
            features=solved.features,
            survey=solved.survey,
            trained=replace(trained, model=accept_any_size(model)),
            evaluation=evaluation,
            command=command,
            on_message=on_message,
        )
    return replace(result, stages=training.stages.seconds)


def _train(
    ray: ModuleType,
    training: ClusterTraining,
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[ClusterHead, Trained]:
    """Train all phases; return the features that the trained head reads, and the record."""
    runs: list[PhaseRun] = []
    solved: ClusterHead | None = None
    if isinstance(training.recipe.head, SolvedHead):
        solved = _open_features(ray, training, model, training.folder.join(FEATURES))
        _show_counts(training, solved.survey)
        runs.append(_solve(training, solved, training.recipe.head, callbacks))
    if training.phases:
        if solved is not None:
            solved.shards.stop()
        survey = None if solved is None else solved.survey
        runs += _train_epochs(training, model, callbacks, survey)
        solved = None
    if solved is None:
        out = training.own_folder.join(TRAINED_FEATURES)
        solved = _open_features(ray, training, model, out)
    with training.stages.measure("detector"):
        solved.fit_detector(training.experiment.seed)
    trained = Trained(
        recipe=training.recipe.name,
        model=model,
        run=Run(phases=tuple(runs)),
        seconds=time.perf_counter() - training.started,
        has_probed=training.recipe.features == "auto",
    )
    return solved, trained


def _train_epochs(
    training: ClusterTraining,
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    survey: Survey | None,
) -> list[PhaseRun]:
    """Train the phases that last epochs.

    Args:
        training: The training.
        model: The classifier; its weights are changed.
        callbacks: Are called after each phase.
        survey: The number of images in each part; if None, they are counted before the first phase
            trains.
    """
    runs: list[PhaseRun] = []
    for name, phase in training.phases.items():
        out = training.own_folder.join(name_features(name))
        features = cluster_epochs.extract_features(training, model, out=out, phase=phase)
        if survey is None:
            survey = _divide(training, features)
            _show_counts(training, survey)
        count = survey.total("train")
        phase = replace(phase, batch_size=min(phase.batch_size, count))  # as on one machine
        run = cluster_epochs.train_phase(training, model, phase, features, name=name)
        columns = zip(*run.history.values(), strict=True)
        epochs = [dict(zip(run.history, values, strict=True)) for values in columns]
        finished_epochs.notify(callbacks, model, epochs)
        runs.append(run)
    return runs


def _open_features(
    ray: ModuleType, training: ClusterTraining, model: keras.Model, out: Location
) -> ClusterHead:
    """Compute the features of all images that the head reads, and divide the images."""
    features = cluster_epochs.extract_features(training, model, out=out)
    survey = _divide(training, features)
    devices = clusters.plan_devices(ray.nodes(), None)
    names = training.listed.class_names
    shards = start_shards(ray, features, names, devices, training.split)
    return ClusterHead(model=model, features=features, shards=shards, survey=survey)


def _build(training: ClusterTraining) -> keras.Model:
    """Return the classifier, whose head reads the layers that a probe of the sample chose."""
    experiment, recipe, sample = training.experiment, training.recipe, training.sample
    checkpoint = training.claim.checkpoint / "train"
    places = RecipeCheckpoint(checkpoint)
    with places.share_features(training.cache, len(sample)) as shared:
        keras.utils.set_random_seed(experiment.seed)
        model = recipe.build(
            replace(sample, notices=()),
            image_size=image_size_of(experiment),
            weights=experiment.weights,
            backbone_options=experiment.backbone_options,
            pixels=experiment.pixel_format,
            num_prefix_tokens=experiment.num_prefix_tokens,
            cache=shared,
            checkpoint=checkpoint,
            verbose=training.verbose,
        )
    head_solver.compile_head(model, plan_freezing(model, recipe.head), validate(sample, model))
    return model


def _divide(training: ClusterTraining, features: FeatureSet) -> Survey:
    """Return the number of images in each part, and samples of them.

    Raises:
        DataError: A class has no training images, or there are no test images.
    """
    survey = drawn_split.survey(features, training.split, max_sample=MAX_SAMPLE)
    trained = survey.class_counts["train"]
    untrained = [name for name in training.listed.class_names if not trained.get(name)]
    if untrained or not survey.total("test"):
        what = f"training images of {untrained[:10]}" if untrained else "test images"
        raise DataError(
            "There must be training images of each class, and test images, got no "
            f"{what} in {training.experiment.data!r}. Where parts are drawn, that of each image is "
            "drawn by itself: choose another ",
            Argument("seed"),
            ", change ",
            Argument("test"),
            ", or add images.",
        )
    return survey


def _show_counts(training: ClusterTraining, survey: Survey) -> None:
    """Show the number of images in each part, and how the parts were made."""
    counts = ", ".join(f"{part} {counted.sum():,}" for part, counted in survey.counts.items())
    own = [part for _, part in training.listed.folders]
    drawn = f"{', '.join(own)} as given" if own else "drawn from the content of each file"
    training.on_message(f"{counts} images ({drawn})")


def _solve(
    training: ClusterTraining,
    solved: ClusterHead,
    phase: SolvedHead,
    callbacks: Sequence[keras.callbacks.Callback],
) -> PhaseRun:
    """Solve the head; return the record, whose seconds include those of its features."""
    model = solved.model
    before = verification.hash_weights(model)
    waiting = show_waiting("solving the head", verbose=training.verbose)
    with training.stages.measure("head"), waiting:
        metrics = solved.solve(phase, seed=training.experiment.seed)
    finished_epochs.notify(callbacks, model, [metrics])
    plan = plan_freezing(model, phase)
    return PhaseRun(
        name="head",
        history=to_columns([metrics]),
        seconds=solved.features.seconds + training.stages.seconds["head"],
        best_epoch=1,
        movement=verification.verify_movement(model, plan, before, trained=False),
    )
