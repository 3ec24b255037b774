"""Train the classifier of an experiment, with a recipe of the experiment's settings."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from tlkit._internal.signatures import check_arguments
from tlkit.caching.cache import DEFAULT, Cache
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.named_augmentation import create_augmentation
from tlkit.data.splits import Split
from tlkit.evaluation.probing.search_result import ProbedBackbone
from tlkit.experiments import backbone_choice, recipes
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import image_size_of
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.recipe_precision import set_precision
from tlkit.experiments.trained import Trained

_VIEWS = 4  # augmented copies of each image, if the head is solved
STORED = Cache(folder="auto")
"""Stores features in the default folder, for later experiments."""


@check_arguments
def train(
    experiment: Experiment,
    split: Split,
    *,
    cache: Cache | None = STORED,
    chosen: ProbedBackbone | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint: Path | None = None,
    verbose: bool = True,
) -> Trained:
    """Train a classifier on the training images of a split.

    Args:
        experiment: The settings.
        split: The images; only the training images are trained on. The validation images are
            evaluated after every epoch, as for `Recipe.train`.
        cache: As for `run`.
        chosen: The recommended backbone and the layer that it ends with; None without a search.
        callbacks: As for `run`.
        checkpoint: As for `Recipe.train`.
        verbose: Whether to print a line for every epoch.
    """
    recipe = recipes.for_experiment(experiment)
    if experiment.augment:
        layers = create_augmentation(
            experiment.augment, value_range=split.train.value_range, channels=experiment.channels
        )
        recipe = recipe.augment(layers)
        if recipe.fine_tune is None:
            cache = replace(cache or DEFAULT, views=_VIEWS)
    if chosen is not None:
        limited = experiment.max_ms is not None or experiment.max_mb is not None
        recipe = backbone_choice.end_recipe(recipe, chosen, limited=limited)
    recipe = set_precision(_add_callbacks(recipe, callbacks), experiment.precision)
    return recipe.train(
        replace(split.train, notices=()),  # the plan has shown them
        image_size=image_size_of(experiment),
        weights=experiment.weights,
        backbone_options=experiment.backbone_options,
        pixels=experiment.pixel_format,
        num_prefix_tokens=experiment.num_prefix_tokens,
        class_weight=experiment.class_weight,
        seed=experiment.seed,
        budget=experiment.budget,
        cache=cache,
        also=[part for part in (split.validation, split.test) if len(part)],
        validation_data=split.validation if len(split.validation) else None,
        checkpoint=checkpoint,
        verbose=verbose,
    )


@check_arguments
def train_on(
    experiment: Experiment,
    numbers: Iterator[int],
    checkpoints: Path,
    data: ImageDataset,
    **how: Any,
) -> Trained:
    """Train on the images outside the next fold.

    Args:
        experiment: The settings.
        numbers: Yields the number of each fold.
        checkpoints: The folder for a checkpoint of each fold.
        data: The images outside the fold.
        how: Further arguments of `train`.
    """
    empty = data.take([])
    parts = Split(train=data, validation=empty, test=empty)
    return train(experiment, parts, checkpoint=checkpoints / f"fold-{next(numbers)}", **how)


def _add_callbacks(recipe: Recipe, callbacks: Sequence[keras.callbacks.Callback]) -> Recipe:
    head, tail = recipe.head, recipe.fine_tune
    if tail is not None:
        tail = replace(tail, callbacks=(*tail.callbacks, *callbacks))
    head = replace(head, callbacks=(*head.callbacks, *callbacks))
    return replace(recipe, head=head, fine_tune=tail)
