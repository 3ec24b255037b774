"""The features and the phases of a training on a cluster that need all of its devices."""

from dataclasses import replace
from types import ModuleType

import keras

from tlkit.caching.progress import CacheProgress
from tlkit.data import reading
from tlkit.distributed import extract, fine_tuning, tail_checks, tail_group
from tlkit.distributed.feature_set import FeatureSet
from tlkit.distributed.storage import Location
from tlkit.errors import TlkitError
from tlkit.experiments import cluster_images
from tlkit.experiments.cluster_preparation import ClusterTraining
from tlkit.experiments.cluster_settings import NAMES
from tlkit.training.phase import Phase
from tlkit.training.records import PhaseRun

PART_ROWS = 4096
"""The number of images in a file of features."""


def check_machines(ray: ModuleType, training: ClusterTraining) -> None:
    """Check that the machines can train in epochs, if the recipe has such phases.

    Args:
        ray: Ray, connected to the cluster.
        training: The training.

    Raises:
        ConfigError: A machine lacks JAX, or has other versions of packages.
    """
    for phase in training.phases.values():
        devices = tail_group.plan_devices(ray, phase.batch_size, None)
        tail_checks.check_machines(ray, devices, ())
        return  # all phases need the same


def extract_features(
    training: ClusterTraining, model: keras.Model, *, out: Location, phase: Phase | None = None
) -> FeatureSet:
    """Run the frozen part on the cluster; refuse unreadable images unless they are skipped.

    Args:
        training: The training.
        model: The classifier.
        out: The folder of the features.
        phase: The phase that reads them; by default the head reads them.

    Raises:
        DataError: Images are unreadable; the message lists them.
    """
    experiment, manifest = training.experiment, training.listed.manifest
    progress = CacheProgress(verbose=training.verbose)
    try:
        with training.stages.measure("frozen part"):
            features = extract(
                training.listed.place.text,
                model,
                out=out.text,
                phase=phase,
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
        raise error.rename_arguments(NAMES) from error
    finally:
        progress.close()
    training.on_message(str(features))
    problems = (*training.listed.problems, *features.problems)
    options = cluster_images.read_options(experiment, training.listed.class_names)
    reading.check_problems(problems, features.problems, training.listed.survey.num_rows, options)
    return features


def train_phase(
    training: ClusterTraining,
    model: keras.Model,
    phase: Phase,
    features: FeatureSet,
    *,
    name: str,
) -> PhaseRun:
    """Train a phase that lasts epochs; its seconds include those of its features.

    Args:
        training: The training.
        model: The classifier; its weights are changed.
        phase: The phase.
        features: The features that its layers read.
        name: The name of the phase.

    Raises:
        ConfigError: The phase can't be trained on a cluster, or its workers are lost again and
            again.
        DataError: There are too few images.
    """
    order = ("head", "fine_tune").index(name)
    try:
        with training.stages.measure(name):
            run = fine_tuning.train(
                model,
                phase,
                features,
                split=training.split,
                checkpoint=training.own_folder.join(f"state-{name}").text,
                cluster=str(training.experiment.cluster),
                workers=None,
                seed=training.experiment.seed + order,
                on_message=training.on_message,
                name=name,
                start="those of this run",
            )
    except TlkitError as error:
        raise error.rename_arguments(NAMES) from error
    return replace(run, seconds=features.seconds + run.seconds)
