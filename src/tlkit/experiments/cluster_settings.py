"""Check that an experiment's settings can be followed on a cluster."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path, PurePath, PurePosixPath

import keras

from tlkit._internal.optional import require
from tlkit._internal.text import show
from tlkit.distributed import tail
from tlkit.errors import Argument, ConfigError
from tlkit.experiments import recipes
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.recipe_precision import set_precision
from tlkit.training.phase import Phase

FEATURES = "features"
"""The name, in the cluster's folder, of the folder with the features that a solved head reads."""

MANIFEST = "manifest"
"""The name, in a run's part of the cluster's folder, of the folder with the list of images."""

TRAINED_FEATURES = "features-trained"
"""The name there of the folder with the features of the fine-tuned backbone."""

NAMES = {
    "checkpoint": "cluster_folder",
    "folder": "data",
    "manifest": "data",
    "out": "cluster_folder",
    "phase": "recipe_options",
}
"""The names of an experiment's settings, by those of the arguments in `tlkit.distributed`."""

_CONTROLLING = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.EarlyStopping,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TerminateOnNaN,
)
"""The callbacks of Keras that control training or save the model."""

_WITHOUT = {
    "augment": "each image is read once",
    "add": "list all images in one folder or manifest",
    "backbones": "choose one by `tlkit probe` first, on some of the images",
    "budget": "each image is read once",
    "class_weight": "all images have the same weight",
    "duplicates": "copies of a file are always in the same part, and others are not searched for",
    "folds": "the test images are drawn once",
    "group_column": "the part of each image is drawn from its content",
    "image_sizes": "choose one by `tlkit probe` first, on some of the images",
    "label_columns": "each image has one class",
    "label_separator": "each image has one class",
    "limit": "all images are used",
    "max_mb": "choose a backbone by `tlkit probe` first, on some of the images",
    "max_ms": "choose a backbone by `tlkit probe` first, on some of the images",
    "split_column": "the part of each image is drawn from its content",
    "stratify": "the part of each image is drawn from its content",
    "test_data": "the part of each image is drawn from its content",
    "validation_data": "the part of each image is drawn from its content",
}
"""The settings that must be left out, and why."""


def find_recipe(experiment: Experiment) -> Recipe:
    """Return the recipe of an experiment, if a cluster can follow it.

    Raises:
        ConfigError: The recipe compares fine-tuning with the head alone; or the precision, or a
            setting of a phase, is not supported.
    """
    recipe = recipes.for_experiment(experiment)
    if recipe.fine_tune is not None and recipe.held_out:
        raise ConfigError(
            Argument("recipe"),
            " must not hold out images to compare candidates on with ",
            Argument("cluster"),
            f", got {experiment.recipe!r}: only one candidate is trained there. Fine-tune in any "
            "case by ",
            Argument("recipe_options", "held_out=0"),
            ", or not at all by ",
            Argument("recipe_options", "epochs=0"),
            ".",
        )
    if experiment.precision == "float16":
        raise ConfigError(
            Argument("precision"),
            " must be 'float32' or 'bfloat16' with ",
            Argument("cluster"),
            ", got 'float16': losses are not scaled there.",
        )
    recipe = set_precision(recipe, experiment.precision)
    for phase in (recipe.head, recipe.fine_tune):
        if isinstance(phase, Phase):
            try:
                tail.check_phase(phase)
            except ConfigError as error:
                raise error.rename_arguments(NAMES) from error
    return recipe


def check_callbacks(experiment: Experiment, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Check that callbacks can be called after the epochs of a cluster.

    Raises:
        ConfigError: A callback of Keras controls training or saves the model.
    """
    if experiment.cluster is None:
        return
    recipe = find_recipe(experiment)
    has_epochs = any(isinstance(phase, Phase) for phase in (recipe.head, recipe.fine_tune))
    refused = [type(each).__name__ for each in callbacks if isinstance(each, _CONTROLLING)]
    if has_epochs and refused:
        raise ConfigError(
            Argument("callbacks"),
            " must not control training or save the model with ",
            Argument("cluster"),
            f", got {', '.join(refused)}: they are called after each phase, for all of its epochs. "
            "Leave them out; those that log metrics can stay.",
        )


def name_features(phase: str) -> str:
    """Return the name of the folder with the features that a phase of several epochs reads."""
    return f"features-{phase}"


def check(experiment: Experiment) -> None:
    """Check the settings of an experiment that may run on a cluster.

    Raises:
        ConfigError: A setting can't be followed, or the cluster's folder is inside the images.
        MissingExtraError: The extra `ray` is not installed.
    """
    if experiment.cluster is None:
        if experiment.cluster_folder is not None:
            folder, cluster = Argument("cluster_folder"), Argument("cluster")
            raise ConfigError(folder, " must be left out without ", cluster, ".")
        return
    find_recipe(experiment)
    for field in fields(Experiment):
        value = getattr(experiment, field.name)
        if field.name in _WITHOUT and value != field.default:
            raise ConfigError(
                Argument(field.name),
                " must be left out with ",
                Argument("cluster"),
                f", got {show(value)}: {_WITHOUT[field.name]}.",
            )
    if experiment.unreadable == "replace":
        raise ConfigError(
            Argument("unreadable"),
            " must be 'fail' or 'skip' with ",
            Argument("cluster"),
            ", got 'replace': unreadable images have no features.",
        )
    _refuse_inside(experiment)
    require("ray", extra="ray")


def _refuse_inside(experiment: Experiment) -> None:
    """Refuse a folder of the cluster inside the images, where its files would be read as images."""
    folder = experiment.cluster_folder
    if folder is None:
        return
    if (_resolve(folder) / FEATURES).is_relative_to(_resolve(experiment.data)):
        raise ConfigError(
            Argument("cluster_folder"),
            f" must be outside the images {experiment.data!r}, got {folder!r}: its files would be "
            "read as those of images.",
        )


def _resolve(place: str) -> PurePath:
    """Return the absolute path of a file or folder, or the whole address as a path."""
    text = place.removeprefix("file://")
    return PurePosixPath(text) if "://" in text else Path(text).expanduser().resolve()
