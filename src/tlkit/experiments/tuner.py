"""Tune a recipe's settings: freezing, layers, learning rates, augmentation; compared by folds."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments, optional
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import plural
from tlkit._internal.variables import restore_model_on_exit
from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.progress import show_waiting
from tlkit.data.folds import assign_folds
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.named_augmentation import create_augmentation
from tlkit.errors import ConfigError
from tlkit.evaluation.evaluator import predict
from tlkit.evaluation.reliability import calibrated_loss
from tlkit.evaluation.tuning import Measure, Trial, Tuning
from tlkit.experiments import recipes
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.tuning_space import (
    TunedRecipe,
    TuningSpace,
    check_recipe,
    suggest,
    to_settings,
)
from tlkit.experiments.tuning_study import Study, open_study
from tlkit.models.pixels import PixelFormat
from tlkit.training.identity import describe_data, describe_source, describe_value
from tlkit.training.time_budget import Deadline


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The settings by which trials are trained and scored.

    Attributes:
        data: The training images.
        fold_of: The fold of each image, `(count,)`.
        recipe: The name of the recipe that is tuned.
        backbone: The recipe's backbone.
        measure: The measure that is optimised.
        until: The time when the budget is over, by `time.perf_counter`.
        how: Further arguments of `Recipe.train`.
        on_message: Is called with each trial.
        verbose: Whether a terminal shows the trial and fold in progress.
    """

    data: ImageDataset
    fold_of: np.ndarray
    recipe: str
    backbone: str | keras.Model
    measure: Measure
    until: float
    how: Mapping[str, Any]
    on_message: Callable[[object], None]
    verbose: bool

    @property
    def num_folds(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1


# The recipe's defaults, and its head without fine-tuning, are scored first, because tuning is worth
# the effort only if it improves on both. All trials, their folds and the probe of each read the
# features that the cache has stored for each image, so the frozen part is computed once. Test
# images are not used.
@check_arguments
def tune(
    data: ImageDataset,
    *,
    recipe: TunedRecipe = "best",
    space: TuningSpace | None = None,
    trials: int = 20,
    budget: float | None = None,
    folds: int = 3,
    measure: Measure = "loss",
    folder: str | Path | None = None,
    backbone: str | keras.Model = "mobilenet_v2",
    image_size: int | tuple[int, int] | None = None,
    weights: str | None = "imagenet",
    backbone_options: Mapping[str, Any] | None = None,
    pixels: PixelFormat | tuple[float, float] | str | None = None,
    num_prefix_tokens: int | None = None,
    seed: int = 0,
    cache: Cache | None = DEFAULT,
    on_message: Callable[[object], None] = print,
    verbose: bool = True,
) -> Tuning:
    """Tune the settings of a recipe by folds of the training images; needs the extra `optuna`.

    The head without fine-tuning and the recipe's defaults are scored first, then trials that
    Optuna suggests. Keras' global state is cleared before each fold.

    Args:
        data: The training images. Images of one group, and duplicates among files, share a fold.
        recipe: "best" or "few_images".
        space: The values to try; by default those of `TuningSpace()`.
        trials: The number of trials in all, including those of earlier processes.
        budget: Maximum minutes, including those of earlier processes. A fold stops when the time is
            over, and its trial does not count; building and probing are never stopped.
        folds: The number of folds that the images are divided into, at least 2.
        measure: What to optimise, the mean over the folds: "loss" (cross-entropy at the best
            temperature), which shows small differences better, or "accuracy".
        folder: The folder to store trials in, so that the same call continues after an interrupt.
        backbone: As for `build_classifier`.
        image_size: As for `Recipe.train`.
        weights: As for `Recipe.train`.
        backbone_options: As for `Recipe.train`.
        pixels: As for `Recipe.train`.
        num_prefix_tokens: As for `Recipe.train`.
        seed: The seed of the folds, the trials and the training.
        cache: As for `Recipe.train`; with a folder, the frozen part is computed once for all
            trials.
        on_message: Is called with each trial when it is done.
        verbose: Whether a terminal shows the trial and fold in progress.

    Raises:
        ConfigError: A value is wrong, the images are multi-label, or the folder is of a tuning with
            other images or settings, or of one in progress.
        DataError: A class has fewer images than there are folds.
        MissingExtraError: Optuna is not installed.
        KeyboardInterrupt: Ctrl-C; a folder then holds the trials that were complete.
    """
    optional.require("optuna", extra="optuna")
    check_recipe(recipe)
    arguments.at_least("trials", trials, 1)
    if budget is not None:
        arguments.positive("budget", budget)
    if data.is_multi_label:
        raise ConfigError("`data` must have one class for each image, got multi-label images.")
    job = _Job(
        data=data,
        fold_of=assign_folds(data, folds=folds, seed=seed),
        recipe=recipe,
        backbone=backbone,
        measure=measure,
        until=math.inf,
        how={
            "image_size": image_size,
            "weights": weights,
            "backbone_options": backbone_options,
            "pixels": pixels,
            "num_prefix_tokens": num_prefix_tokens,
            "seed": seed,
            "cache": cache,
        },
        on_message=on_message,
        verbose=verbose,
    )
    space = space or TuningSpace()
    opened = open_study(
        measure,
        seed=seed,
        folder=None if folder is None else Path(folder),
        identity={} if folder is None else _identify(job, space),
    )
    with opened as study:
        if budget is not None:
            until = time.perf_counter() + 60 * budget - study.seconds
            job = replace(job, until=until)
        try:
            is_over = _run(study, job, space, trials=trials)
        except KeyboardInterrupt:
            done = plural(len(study.trials), "trial")
            how = "Set `folder` to go on next time." if folder is None else "The same call goes on."
            raise KeyboardInterrupt(f"Interrupted after {done}. {how}") from None
        return _to_tuning(study, job, budget_ran_out=is_over)


def _identify(job: _Job, space: TuningSpace) -> dict[str, str]:
    """Return text that identifies the images and the settings, by name."""
    how = {**job.how, "cache": None, "backbone": job.backbone}
    sources = {name: describe_source(value) for name, value in how.items()}
    return {
        "images": describe_data((job.data.images, job.data.labels)),
        "settings": describe_value([job.recipe, job.measure, job.num_folds, sources, space]),
    }


def _run(study: Study, job: _Job, space: TuningSpace, *, trials: int) -> bool:
    """Run the remaining trials; return whether the time was over before the last."""
    for name, settings in _list_first(job):
        if study.read(name) is None:
            started = time.perf_counter()
            found = _try_settings(job, Trial(name=name, settings=settings))
            study.seconds += time.perf_counter() - started
            if found is None:
                return True
            study.keep(found)
    while (number := len(study.trials) + 1) <= trials:
        if time.perf_counter() > job.until:
            return True
        started, asked = time.perf_counter(), study.ask()
        begun = _begin(f"trial {number}", job.recipe, suggest(space, job.recipe, asked))
        found = _try_settings(job, begun, is_hopeless=partial(study.is_hopeless, asked))
        study.seconds += time.perf_counter() - started
        if found is None:
            return True
        study.tell(asked, found)
    return False


def _begin(name: str, recipe: str, parameters: Mapping[str, Any]) -> Trial:
    settings, augment = to_settings(recipe, parameters)
    return Trial(name=name, settings=settings, augment=augment, parameters=parameters)


def _list_first(job: _Job) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and settings of the trials that the others are compared with."""
    defaults: tuple[str, dict[str, Any]] = ("defaults", {})
    return [("head alone", {"epochs": 0}), defaults] if job.recipe == "best" else [defaults]


def _try_settings(
    job: _Job, begun: Trial, *, is_hopeless: Callable[[Trial], bool] = lambda found: False
) -> Trial | None:
    """Return a trial with its results; None if the time was over before its last fold."""
    started, found = time.perf_counter(), begun
    for fold in range(job.num_folds):
        running = f"{begun.name}, fold {fold + 1} of {job.num_folds}"
        with show_waiting(running, verbose=job.verbose):
            judged = _judge_fold(job, begun, fold)
        if judged is None:
            return None
        loss, accuracy = judged
        found = replace(
            found,
            losses=(*found.losses, loss),
            accuracies=(*found.accuracies, accuracy),
            seconds=time.perf_counter() - started,
            is_complete=fold + 1 == job.num_folds,
        )
        if not found.is_complete and is_hopeless(found):
            break
    job.on_message(found)
    return found


def _judge_fold(job: _Job, trial: Trial, fold: int) -> tuple[float, float] | None:
    """Train on the other folds; return loss and accuracy on this one, or None at a deadline."""
    train, held_out = (
        job.data.take(np.flatnonzero(rows)) for rows in (job.fold_of != fold, job.fold_of == fold)
    )
    keras.backend.clear_session()
    recipe, cache = _create_recipe(job, trial)
    deadline = Deadline(job.until)
    if recipe.fine_tune is not None:
        callbacks = (*recipe.fine_tune.callbacks, deadline)
        recipe = replace(recipe, fine_tune=replace(recipe.fine_tune, callbacks=callbacks))
    with restore_model_on_exit(job.backbone):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The phase .* diverged", UserWarning)
            trained = recipe.train(train, **{**job.how, "cache": cache}, verbose=False)
        if deadline.ran_out or time.perf_counter() > job.until:
            return None
        probabilities = predict(trained.model, held_out)
    accuracy = float((probabilities.argmax(axis=1) == held_out.labels).mean())
    return float(calibrated_loss(held_out.labels, probabilities)), accuracy


def _create_recipe(job: _Job, trial: Trial) -> tuple[Recipe, Cache | None]:
    """Return a recipe that does not hold out images itself, and its cache."""
    recipe = recipes.get(job.recipe, backbone=job.backbone, **trial.settings)
    recipe = replace(recipe, held_out=0)
    cache: Cache | None = job.how["cache"]
    if trial.augment:
        names: Any = trial.augment
        shape = job.data.images.shape
        channels = shape[3] if len(shape) == 4 else 1
        layers = create_augmentation(names, value_range=job.data.value_range, channels=channels)
        recipe = recipe.augment(layers)
    return recipe, cache


def _to_tuning(study: Study, job: _Job, *, budget_ran_out: bool) -> Tuning:
    """Return the results in a study."""
    unfinished = Trial(name="defaults", settings={}, is_complete=False)
    return Tuning(
        recipe=job.recipe,
        measure=job.measure,
        num_images=len(job.data),
        num_folds=job.num_folds,
        defaults=study.read("defaults") or unfinished,
        head_alone=study.read("head alone"),
        trials=study.trials,
        importances=study.find_importances(seed=job.how["seed"]),
        seconds=study.seconds,
        budget_ran_out=budget_ran_out,
    )
