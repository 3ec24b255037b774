"""Train the tail of a classifier on the devices of a cluster, which compute each step together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.optional import require
from tlkit._internal.signatures import check_arguments
from tlkit.distributed import cluster as clusters
from tlkit.distributed import drawn_split, tail, tail_checks, tail_group, tail_identity
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.feature_set import FeatureSet, open_features
from tlkit.distributed.storage import locate
from tlkit.distributed.tail_rows import TailJob
from tlkit.distributed.tail_training import TailTraining
from tlkit.models.inspection import class_names
from tlkit.training import class_weights
from tlkit.training.phase import Phase
from tlkit.training.records import PhaseRun

_MODEL = "model.keras"


# Each worker first reads its share of the features, and then all make the same steps (`lanes.py`,
# `tail_steps.py`). This process only calls one epoch after the other. The first worker writes the
# state after each epoch to a folder that all machines share. If a worker is lost, the others can't
# go on, since each step needs all of them: all are ended, and a new group starts from the last
# state, with fewer workers if their machine is lost too. The result stays the same.
@check_arguments
def fine_tune(
    model: keras.Model,
    phase: Phase,
    features: FeatureSet | str | Path,
    *,
    checkpoint: str | Path,
    cluster: str = clusters.LOCAL,
    workers: int | None = None,
    validation: float = 0.0,
    seed: int = 0,
    on_message: Callable[[str], None] = lambda message: None,
) -> PhaseRun:
    """Train the layers of a classifier that a phase does not freeze, on a cluster.

    Every worker computes an equal share of each step, on JAX, whatever Keras' backend is here.
    The batches depend on the seed, and not on the number of workers, so that losses and weights are
    those of one worker, except for rounding. If a worker dies, training goes on from the last
    finished epoch. If this process dies, call it again to continue.

    Args:
        model: The classifier; its weights are changed.
        phase: The phase. It must not have an augmentation, callbacks, averaged weights, or its own
            loss or metrics; its optimizer is a name. Its `batch_size` is that of all workers
            together.
        features: The features that `extract` has written for this phase, or their folder.
        checkpoint: A folder that all machines share, for the state after each epoch. It belongs to
            one training; delete it when training is finished.
        cluster: As for `extract`.
        workers: The number of workers, which divides the batch size; by default the largest such
            number for which there are devices.
        validation: The share of images, drawn by their content, that are evaluated after each
            epoch instead of being trained on.
        seed: The seed of the order of images, of random layers and of the validation images.
        on_message: A function of one line of text, such as `print`.

    Returns:
        The history and which weights changed, as `train_phase` returns them.

    Raises:
        ConfigError: The phase, the features, the checkpoint or the cluster don't fit; or workers
            died several times without finishing an epoch.
        DataError: There are too few images, or files of features are missing.
        MissingExtraError: The extra `ray` is not installed.
        StoreError: The checkpoint can't be read or written, or is damaged; or the features can't
            be read.
        TrainingError: Weights changed that must not, or layers did not change that must.

    Warns:
        UserWarning: The loss became infinite or NaN. Training ended, and the weights of the epoch
            with the lowest loss were restored.
    """
    require("ray", extra="ray")
    if workers is not None:
        arguments.at_least("workers", workers, 1)
    share = arguments.fraction("validation", validation)
    return train(
        model,
        phase,
        features if isinstance(features, FeatureSet) else open_features(features),
        split=DrawnSplit(test=0.0, validation=share, seed=arguments.seed("seed", seed)),
        checkpoint=checkpoint,
        cluster=cluster,
        workers=workers,
        seed=seed,
        on_message=on_message,
    )


def train(
    model: keras.Model,
    phase: Phase,
    features: FeatureSet,
    *,
    split: DrawnSplit,
    checkpoint: str | Path,
    cluster: str,
    workers: int | None,
    seed: int,
    on_message: Callable[[str], None],
    name: str = "fine_tune",
    start: str | None = None,
) -> PhaseRun:
    """Train as `fine_tune` does, on the training images of a split.

    Args:
        model: As for `fine_tune`.
        phase: As for `fine_tune`.
        features: The features.
        split: The rule that draws the part of each image.
        checkpoint: As for `fine_tune`.
        cluster: As for `fine_tune`.
        workers: As for `fine_tune`.
        seed: As for `fine_tune`.
        on_message: As for `fine_tune`.
        name: The name of the phase.
        start: A text that identifies the weights at the start, if another process may compute them
            with other rounding; by default their digest.
    """
    frozen = tail.check(model, phase)
    extracted = tail_checks.check_features(model, frozen, features)
    survey = drawn_split.survey(features, split, max_sample=1)
    tail_checks.check_images(phase, survey)
    folder = locate("checkpoint", checkpoint)
    job = TailJob(
        model=folder.join(_MODEL),
        states=folder,
        files=tuple(features.locations),
        counts=survey.counts,
        split=split,
        names=class_names(model),
        frozen=frozen,
        image=extracted.image,
        image_dtype=extracted.image_dtype,
        num_features=features.num_features,
        dtype=features.dtype,
        phase=replace(phase, freeze=frozen),
        class_weight=_weigh_classes(phase, class_names(model), survey.class_counts["train"]),
        seed=seed,
    )
    settings = {
        "weights at the start": start or tail_identity.digest_weights(model),
        **tail_identity.describe(job, facts=extracted.facts, images=survey.digest),
    }
    with clusters.connect(cluster) as ray:
        devices = tail_group.plan_devices(ray, phase.batch_size, workers)
        training = TailTraining(job=job, settings=settings, name=name, on_message=on_message)
        training.open(model)
        readable = [("`features`", features.locations[0]), ("`checkpoint`", job.model)]
        tail_checks.check_machines(ray, devices, readable)
        idle = tail_group.describe_idle(ray, phase.batch_size, devices.workers)
        if idle and workers is None:
            on_message(f"{name}: {idle}")
        shown = f"{survey.total('train'):,} images in steps of {phase.batch_size}"
        on_message(f"{name}: {devices} train {shown}; {extracted.cut.reason}")
        training.run(ray, devices)
    return training.finish(model)


def _weigh_classes(phase: Phase, names: tuple[str, ...], counts: Any) -> np.ndarray:
    """Return the weight of each class, `(classes,)`."""
    given = phase.class_weight
    if given == "balanced":
        given = class_weights.balance([counts.get(name, 0) for name in names])
    expanded = class_weights.expand(given, len(names)) or {}
    return np.array([expanded.get(index, 1.0) for index in range(len(names))], "float32")
