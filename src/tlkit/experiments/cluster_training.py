"""Train the classifier of an experiment on a cluster: the backbone there, once for each image."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras

from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.progress import CacheProgress, show_waiting
from tlkit.data import reading
from tlkit.distributed import cluster as clusters
from tlkit.distributed import drawn_split, extract
from tlkit.distributed.drawn_split import Survey
from tlkit.distributed.feature_set import FeatureSet
from tlkit.distributed.head import start_shards
from tlkit.errors import Argument, DataError, TlkitError
from tlkit.experiments import (
    backbone_choice,
    cluster_images,
    cluster_saving,
    run_state,
)
from tlkit.experiments.cluster_head import ClusterHead
from tlkit.experiments.cluster_preparation import ClusterTraining, prepare
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import image_size_of
from tlkit.experiments.recipe_checkpoint import RecipeCheckpoint
from tlkit.experiments.result import ExperimentResult
from tlkit.experiments.trained import Trained
from tlkit.models.builder import accept_any_size
from tlkit.training import head_solver, verification
from tlkit.training.inputs import validate
from tlkit.training.phase import SolvedHead, plan_freezing
from tlkit.training.records import PhaseRun, Run, to_columns

PART_ROWS = 4096
"""The number of images in a file of features."""
MAX_SAMPLE = 5_000
"""The number of test images that are drawn for the figures."""


# The same training as on one machine, in another order: the head reads layers that a probe of some
# images chose, so the classifier is complete before the cluster starts. The cluster runs its
# backbone once for each image. What follows reads features only: sums over them solve the head and
# measure it, and rows of a sample calibrate it and make the figures. Memory of this process holds
# samples and sums, whose sizes do not depend on the number of images.
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
        with training.stages.measure("build and probe"):
            model = _build(training)
        before = verification.hash_weights(model)
        with training.stages.measure("frozen part"):
            features = _extract(training, model)
        survey = _divide(training, features)
        shards = start_shards(
            ray,
            features,
            training.listed.class_names,
            clusters.plan_devices(ray.nodes(), None),
            training.split,
        )
        solved = ClusterHead(model=model, shards=shards, survey=survey)
        phase = replace(training.head, callbacks=tuple(callbacks))
        trained = _solve(training, solved, phase, before, features.seconds)
        with training.stages.measure("evaluation"):
            if survey.total("validation"):
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
            features=features,
            survey=survey,
            trained=replace(trained, model=accept_any_size(model)),
            evaluation=evaluation,
            command=command,
            on_message=on_message,
        )
    return replace(result, stages=training.stages.seconds)


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
    head_solver.compile_head(model, plan_freezing(model, training.head), validate(sample, model))
    return model


def _extract(training: ClusterTraining, model: keras.Model) -> FeatureSet:
    """Run the frozen part on the cluster; refuse unreadable images unless they are skipped.

    Raises:
        DataError: Images are unreadable; the message lists them.
    """
    experiment, manifest = training.experiment, training.listed.manifest
    progress = CacheProgress(verbose=training.verbose)
    try:
        features = extract(
            training.listed.place.text,
            model,
            out=training.folder.text,
            cluster=str(experiment.cluster),
            folder=manifest.folder.text,
            path_column=manifest.path_column,
            label_column=manifest.label_column,
            outside_paths=manifest.outside_paths,
            fit=experiment.fit,
            white=experiment.white,
            engine=training.cache.engine,
            max_unreadable=experiment.max_unreadable,
            part_rows=PART_ROWS,
            on_progress=progress.update,
            on_message=training.on_message,
        )
    except TlkitError as error:
        names = {"out": "cluster_folder", "manifest": "data", "folder": "data"}
        raise error.rename_arguments(names) from error
    finally:
        progress.close()
    training.on_message(str(features))
    problems = (*training.listed.problems, *features.problems)
    options = cluster_images.read_options(experiment, training.listed.class_names)
    reading.check_problems(problems, features.problems, training.listed.survey.num_rows, options)
    return features


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
    counts = ", ".join(f"{part} {counted.sum():,}" for part, counted in survey.counts.items())
    own = [part for _, part in training.listed.folders]
    drawn = f"{', '.join(own)} as given" if own else "drawn from the content of each file"
    training.on_message(f"{counts} images ({drawn})")
    return survey


def _solve(
    training: ClusterTraining,
    solved: ClusterHead,
    phase: SolvedHead,
    before: dict[int, str],
    seconds: float,
) -> Trained:
    """Solve the head; return the record of the training.

    Args:
        training: The training.
        solved: The classifier and the features.
        phase: The settings of the head.
        before: The hashes of the classifier's weights before the training.
        seconds: How long the frozen part took.
    """
    model = solved.model
    waiting = show_waiting("solving the head", verbose=training.verbose)
    with training.stages.measure("head"), waiting:
        metrics = solved.solve(phase, seed=training.experiment.seed)
    head_solver.notify_callbacks(model, phase, metrics)
    plan = plan_freezing(model, phase)
    run = PhaseRun(
        name="head",
        history=to_columns([metrics]),
        seconds=seconds + training.stages.seconds["head"],
        best_epoch=1,
        movement=verification.verify_movement(model, plan, before, trained=False),
    )
    return Trained(
        recipe=training.recipe.name,
        model=model,
        run=Run(phases=(run,)),
        seconds=time.perf_counter() - training.started,
        has_probed=training.recipe.features == "auto",
    )
