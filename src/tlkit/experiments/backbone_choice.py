"""Choose the backbone of an experiment by probing several, to train with the chosen one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.caching.cache import Cache
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation.probing.backbone_search import probe_backbones
from tlkit.evaluation.probing.candidates import BackboneCandidate, format_options
from tlkit.evaluation.probing.search_result import BackboneSearch, ProbedBackbone
from tlkit.experiments import array_data, recipes
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import describe_backbone, image_size_of, resolve
from tlkit.experiments.recipe import Recipe


@check_arguments
def prepare(
    experiment: Experiment, on_message: Callable[[object], None] = lambda message: None
) -> Experiment:
    """Return an experiment ready to start, whether it names one backbone or compares several.

    An image size too small for a backbone is left out of a comparison if the backbone has others.

    Args:
        experiment: The settings.
        on_message: As for `tlkit.experiments.loading.resolve`.

    Raises:
        ConfigError: The experiment can't start with these settings.
    """
    recipes.for_experiment(experiment)  # refuses wrong settings before images are read
    if not experiment.is_search:
        return resolve(experiment, on_message)
    if array_data.is_arrays(experiment.data):
        experiment = array_data.resolve(experiment)
    for name in ("options", "pixels", "num_prefix_tokens"):
        if experiment.backbones and getattr(experiment, name) not in ((), None):
            raise ConfigError(
                Argument(name),
                " must be left out with several backbones. Write it behind the name of one: "
                "mobilenet_v2:alpha=0.35, mine.keras:pixels=signed,num_prefix_tokens=1.",
            )
    if experiment.folds:
        raise ConfigError(
            Argument("folds"),
            " must be left out when a backbone is chosen, as all images would choose it and test "
            "it. Choose one by `tlkit probe` first.",
        )
    choosing = [name for name in recipes.names() if recipes.get(name).features == "auto"]
    if experiment.recipe not in choosing:
        raise ConfigError(
            Argument("recipe"),
            f" must be one of {choosing} to choose a backbone, "
            f"got {show(experiment.recipe)}, which "
            "always reads the backbone's last layer.",
        )
    for candidate in candidates(experiment):
        largest = max(candidate.image_sizes, key=lambda each: min(arguments.size("", each)))
        source = describe_backbone(_name_one(experiment, candidate, largest))
        if candidate.pixels is None:
            source.require_pixels()
    return experiment


@check_arguments
def candidates(experiment: Experiment) -> list[BackboneCandidate]:
    """Return the backbones that an experiment compares, with their image sizes.

    Raises:
        ConfigError: A text is not of the form name or name:option=value, or a backbone is unknown.
    """
    weights = experiment.weights
    sizes: Any = experiment.image_sizes  # numbers and pairs, after it read its texts
    found = [BackboneCandidate.parse(each, weights=weights) for each in experiment.backbones] or [
        BackboneCandidate(
            backbone=experiment.backbone,
            options=experiment.backbone_options,
            weights=weights,
            pixels=experiment.pixel_format,
            num_prefix_tokens=experiment.num_prefix_tokens,
        )
    ]
    return [
        replace(each, image_sizes=each.image_sizes or sizes or (_own_size(experiment, each),))
        for each in found
    ]


def _own_size(experiment: Experiment, candidate: BackboneCandidate) -> Any:
    size = image_size_of(_name_one(experiment, candidate, experiment.image_size))
    return arguments.parse_size("image_size", size)


def _name_one(experiment: Experiment, candidate: BackboneCandidate, image_size: Any) -> Experiment:
    """Return an experiment that names one backbone, without a comparison."""
    return replace(
        experiment,
        backbone=candidate.name,
        options=format_options(candidate.options),
        weights=str(candidate.weights),
        image_size=image_size,
        backbones=(),
        image_sizes=(),
    )


def search(
    experiment: Experiment,
    train: ImageDataset,
    *,
    sample: int | None = 5000,
    engine: str = "keras",
    cache: Cache | None = None,
    on_message: Callable[[object], None] = lambda message: None,
) -> BackboneSearch:
    """Compare an experiment's backbones, image sizes and depths on its training images.

    Args:
        experiment: The settings; see `Experiment.is_search`.
        train: The training images.
        sample: As for `probe_backbones`.
        engine: As for `probe_backbones`.
        cache: As for `probe_backbones`.
        on_message: As for `probe_backbones`.
    """
    return probe_backbones(
        candidates(experiment),
        replace(train, notices=()),  # the plan has shown them
        max_ms=experiment.max_ms,
        max_mb=experiment.max_mb,
        sample=sample,
        engine=engine,
        cache=cache,
        seed=experiment.seed,
        on_message=on_message,
    )


def take_recommended(
    experiment: Experiment, split: Split, found: BackboneSearch
) -> tuple[Experiment, Split, ProbedBackbone]:
    """Return experiment and images for the recommended backbone, and the row that recommends it.

    Raises:
        ConfigError: No backbone is within the limits.
    """
    chosen = found.recommended
    if chosen is None:
        limit = Argument("max_ms" if experiment.max_ms is not None else "max_mb")
        raise ConfigError(limit, f" must allow one of the backbones. {found.explain()}")
    settled = replace(
        experiment,
        backbone=chosen.backbone,
        options=format_options(chosen.options),
        weights=str(chosen.weights),
        image_size=chosen.image_size,
        pixels=(chosen.pixels,) if chosen.pixels else experiment.pixels,
        num_prefix_tokens=chosen.num_prefix_tokens,
    )
    parts = {
        name: getattr(split, name).at_size(chosen.image_size)
        for name in ("train", "validation", "test")
    }
    return settled, replace(split, **parts), chosen


def end_recipe(recipe: Recipe, chosen: ProbedBackbone, *, limited: bool) -> Recipe:
    """Return a recipe whose backbone ends at the recommended layer.

    A recipe that joins several layers for any number of images selects its layers itself, unless
    there is a limit on time or size.
    """
    joins_always = recipe.max_layers > 1 and recipe.max_images_to_join is None
    if joins_always and not limited:
        return recipe
    return replace(recipe, features=(chosen.layer,), pooling=chosen.pooling)
