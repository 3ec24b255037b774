"""Prepare a training on a cluster: list the images, and read those that choose the layers."""

import hashlib
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tlkit.caching.cache import Cache
from tlkit.data.image_dataset import ImageDataset
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.storage import Location, locate
from tlkit.experiments import cluster_images, cluster_settings, run_state
from tlkit.experiments.cluster_images import ListedImages
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.stages import Stages
from tlkit.training.phase import Phase


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterTraining:
    """The settings and the images that all steps of a training use.

    Attributes:
        experiment: The settings.
        recipe: The recipe.
        listed: All images.
        split: The rule that draws the part of each image.
        sample: Some training images.
        folder: The folder that all machines share, for features of the untrained classifier.
        own_folder: The folder that all machines share, for the files of this run only.
        cache: The engine of the frozen part, and where the probe's features are stored.
        claim: The run's folder.
        on_message: A function of a line of text.
        verbose: Whether to show progress.
        stages: The time of each stage.
        started: When the training started, by `time.perf_counter`.
    """

    experiment: Experiment
    recipe: Recipe
    listed: ListedImages
    split: DrawnSplit
    sample: ImageDataset
    folder: Location
    own_folder: Location
    cache: Cache
    claim: run_state.Claim
    on_message: Callable[[object], None]
    verbose: bool
    stages: Stages
    started: float = field(default_factory=time.perf_counter)

    @property
    def phases(self) -> dict[str, Phase]:
        """The phases that last epochs, by their names."""
        named = {"head": self.recipe.head, "fine_tune": self.recipe.fine_tune}
        return {name: phase for name, phase in named.items() if isinstance(phase, Phase)}


def prepare(
    experiment: Experiment,
    claim: run_state.Claim,
    *,
    cache: Cache,
    on_message: Callable[[object], None],
    verbose: bool,
) -> ClusterTraining:
    """List the images of an experiment, and read some training images.

    Args:
        experiment: The settings.
        claim: The run's folder.
        cache: As for `cluster_training.run`.
        on_message: As for `cluster_training.run`.
        verbose: As for `cluster_training.run`.

    Raises:
        ConfigError: There are no such images, or the cluster's folder can't be used.
        DataError: The images have problems; the message lists them.
    """
    stages = Stages()
    folder = locate("cluster_folder", experiment.cluster_folder or claim.folder)
    own_folder = _place_own(experiment, folder, claim)
    recipe = cluster_settings.find_recipe(experiment)
    with stages.measure("images"):
        listed = cluster_images.list_images(experiment, own_folder.join(cluster_settings.MANIFEST))
        on_message(str(listed))
        sample = cluster_images.read_training_sample(experiment, listed)
    claim.checkpoint.mkdir(exist_ok=True)  # from now on, there is something to continue
    return ClusterTraining(
        experiment=replace(experiment, white=sample.white or experiment.white),
        recipe=_limit_layers(recipe, listed),
        listed=listed,
        split=listed.split,
        sample=sample,
        folder=folder,
        own_folder=own_folder,
        cache=cache,
        claim=claim,
        on_message=on_message,
        verbose=verbose,
        stages=stages,
    )


def _place_own(experiment: Experiment, folder: Location, claim: run_state.Claim) -> Location:
    """Return the folder of this run's own files.

    Runs can share a folder of the cluster, also at the same time and with other settings.
    """
    if experiment.cluster_folder is None:
        return folder
    run = f"{platform.node()} {claim.folder.resolve()}"
    digest = hashlib.blake2b(run.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return folder.join(f"run-{digest}")


def _limit_layers(recipe: Recipe, listed: ListedImages) -> Recipe:
    """Return the recipe with one layer for the head to read, if there are too many images."""
    limit = recipe.max_images_to_join
    is_many = limit is not None and listed.num_training > limit
    return replace(recipe, max_layers=1) if is_many else recipe
