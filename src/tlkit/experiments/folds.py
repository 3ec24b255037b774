"""Evaluate an experiment by folds, and store each image's fold and prediction in its run."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import plural
from tlkit.caching.cache import Cache
from tlkit.data.folds import assign_folds
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation.cross_validation import CrossValidation, cross_validate, pool_folds
from tlkit.evaluation.evaluator import predict
from tlkit.evaluation.metrics import compute_metrics
from tlkit.experiments import recipes, run_files
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.split_csv import match_rows
from tlkit.experiments.trained import Trained
from tlkit.training.head_solver import solver_of
from tlkit.training.phase import SolvedHead

PROBABILITIES = "fold_probabilities.npy"


@check_arguments
def describe(experiment: Experiment, data: ImageDataset) -> str:
    """Return the sizes of the folds, in one line.

    Raises:
        ConfigError: The images have a split of their own, or there are too many folds.
        DataError: A class has too few images.
    """
    if data.parts:
        raise ConfigError(
            Argument("folds"),
            " must be left out for images with a split of their own. To join its parts, add ",
            Argument("split", "pool"),
            ".",
        )
    sizes = np.bincount(assign_folds(data, folds=experiment.folds, seed=experiment.seed))
    return (
        f"evaluated by {len(sizes)} folds of {min(sizes):,} to {max(sizes):,} images; the "
        f"classifier that is saved is trained on all {plural(len(data), 'image')}"
    )


# A head that is solved on a frozen backbone needs only its features, which are read once. Any other
# recipe changes the backbone, so a classifier is trained for each fold. The same holds for a head
# with class weights or augmented copies, because these depend on the images of the fold.
def evaluate_folds(
    experiment: Experiment,
    data: ImageDataset,
    trained: Trained,
    *,
    train: Callable[[ImageDataset], Trained],
    cache: Cache | None = None,
) -> CrossValidation:
    """Evaluate an experiment by its folds.

    Args:
        experiment: The settings.
        data: All images.
        trained: The classifier that was trained on all images.
        train: A function that trains another classifier on some of the images.
        cache: Where the features that the head reads are stored.
    """
    recipe = recipes.for_experiment(experiment)
    plain = not experiment.augment and getattr(experiment, "class_weight", None) is None
    if isinstance(recipe.head, SolvedHead) and recipe.fine_tune is None and plain:
        return cross_validate(
            trained.model,
            data,
            folds=experiment.folds,
            solver=solver_of(trained.model, recipe.head),
            seed=experiment.seed,
            cache=cache,
        )

    def fit_and_predict(fitted: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        return predict(train(data.take(fitted)).model, data.take(held_out))

    fold_of = assign_folds(data, folds=experiment.folds, seed=experiment.seed)
    return pool_folds(fit_and_predict, fold_of, data.labels, class_names=data.class_names)


def to_files(data: ImageDataset, found: CrossValidation) -> dict[str, str | bytes]:
    """Return the files of a run that store each image's fold and prediction, by file name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("part", "path", "digest"))
    for fold, path, scan in zip(found.fold_of, data.paths, data.scans, strict=True):
        writer.writerow((f"fold {fold + 1}", path, scan.digest))
    array = io.BytesIO()
    np.save(array, found.pooled.probabilities)
    return {"split.csv": text.getvalue(), PROBABILITIES: array.getvalue()}


def load(dataset: ImageDataset, folder: Path) -> tuple[ImageDataset, CrossValidation]:
    """Return the images of a run that was evaluated by folds, and the results.

    Args:
        dataset: The images as they are now; those that the run did not have are ignored.
        folder: The run's folder.

    Raises:
        ConfigError: A file of the run is missing.
        DataError: An image is missing or has changed.
    """
    rows = match_rows(dataset, folder / "split.csv")
    if not (folder / PROBABILITIES).is_file():
        raise ConfigError(f"`folder` must hold {PROBABILITIES}: the predictions of the folds.")
    used = dataset.take([index for _, index in rows])
    probabilities = run_files.read_array(folder / PROBABILITIES)
    with run_files.explain_damage(folder / PROBABILITIES):
        pooled = compute_metrics(used.labels, probabilities, class_names=used.class_names)
    with run_files.explain_damage(folder / "split.csv"):
        fold_of = np.asarray([int(part.removeprefix("fold ")) - 1 for part, _ in rows])
    return used, CrossValidation(fold_of=fold_of, pooled=pooled)
