"""Compare recipes on the same images, over seeds or splits: means with confidence intervals."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.temporaries import temporary_folder
from tlkit._internal.text import duration, plural
from tlkit._internal.variables import restore_model_on_exit
from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.progress import CacheProgress, show_waiting
from tlkit.data.splits import Split
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation.estimates import Estimate, Spread
from tlkit.evaluation.evaluator import evaluate
from tlkit.experiments.compared_recipes import ComparedRecipe, Comparison
from tlkit.experiments.measured_runs import MeasuredRun, MeasuredRuns
from tlkit.experiments.memory_use import measure_memory
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.split_csv import list_digests
from tlkit.experiments.trained import Trained
from tlkit.models.saving import save

_SEEDS = 3
_SPREADS = ("seconds", "memory", "model_bytes")


@check_arguments
def compare(
    recipes: Sequence[Recipe] | Mapping[str, Recipe],
    data: Split | Sequence[Split],
    *,
    seeds: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    weights: str | None = "imagenet",
    backbone_options: Mapping[str, Any] | None = None,
    budget: float | None = None,
    cache: Cache | None = DEFAULT,
    folder: str | Path | None = None,
    verbose: bool = True,
) -> Comparison:
    """Train each recipe with each seed, and evaluate it on the test images.

    The recipes take turns, so that a machine that becomes slower affects all of them. Keras' global
    state is cleared before each run. A backbone that is a model begins each run with the weights
    that it has now, and has them again at the end.

    On one split, the intervals of accuracy and loss describe the variation over seeds only: a
    recipe that always trains the same classifier has ± 0, however few test images there are. The
    interval of a difference includes the chance in the seeds and in the test images, as
    `Estimate.from_runs` adds them up; one run of each recipe says nothing on seeds. So it does on
    several splits that have the same test images, such as different training images of MNIST. On
    splits of other kinds, each run has its own test images, and the intervals describe the
    variation over splits; that of a difference is widened, because the training images of the
    splits overlap (Nadeau and Bengio, 2003).

    With two to four runs of each recipe, the intervals are too wide to say much if recipes depend
    on their seeds: Student's t multiplies the standard error of two runs by 12.7, of three by 4.3,
    and of five by 2.8.

    Args:
        recipes: The recipes to compare; a dict names them, for example one recipe on two backbones.
        data: The split: training and test images. Of several splits, each is used for one run.
        seeds: The number of runs of each recipe, with the seeds 0, 1, 2 and so on; by default 3, or
            one for each split.
        image_size: As for `Recipe.train`.
        weights: As for `Recipe.train`.
        backbone_options: As for `Recipe.train`.
        budget: Maximum minutes of each run, as for `Recipe.train`.
        cache: As for `Recipe.train`. With a folder, runs read the features that earlier ones stored
            there: the comparison is faster, but the seconds of the recipes can't be compared.
        folder: Where to keep the measurements of each run that is finished, so that the same call
            goes on after a stop, and one with more seeds or recipes trains only what is new. A
            measurement is used again only if recipe, arguments, images and versions are the same.
        verbose: Whether to print the recipe, the seed and the accuracy of each run, about how long
            the rest will take, and a line for every epoch.

    Raises:
        ConfigError: `recipes` is empty or two have the same name, a number is wrong, or a recipe
            has callbacks and `folder` is set.
        StoreError: Measurements can't be written to the folder, or are damaged.
        KeyboardInterrupt: Ctrl-C; a folder then holds the measurements of the finished runs.
    """
    named = _name(recipes)
    splits = _repeat(data, seeds)
    lines = CacheProgress(verbose=verbose)
    how: dict[str, Any] = {
        "image_size": image_size,
        "weights": weights,
        "backbone_options": backbone_options,
        "budget": budget,
    }
    kept = MeasuredRuns(folder, how, cache=cache)
    kept.check(named)
    runs: dict[str, list[MeasuredRun]] = {recipe.name: [] for recipe in named}
    try:
        train = partial(_train, cache=cache, verbose=verbose, **how)
        _fill(runs, named, splits, train=train, kept=kept, lines=lines)
    except KeyboardInterrupt:
        done = f"{sum(map(len, runs.values()))} of {plural(len(named) * len(splits), 'run')}"
        hint = (
            "Set `folder` to keep them next time." if folder is None else "The same call goes on."
        )
        raise KeyboardInterrupt(f"Interrupted after {done}. {hint}") from None
    first = next(iter(runs.values()))
    return Comparison(
        images=splits[0].train.name,
        seeds=len(splits),
        splits=_count(splits),
        recipes=tuple(
            ComparedRecipe(
                name=name,
                accuracies=tuple(_read_accuracy(row) for row in rows),
                difference=None if rows is first else _subtract(first, rows, splits),
                **{key: _estimate(rows, key) for key in rows[0].values},
            )
            for name, rows in runs.items()
        ),
    )


def _fill(
    runs: Mapping[str, list[MeasuredRun]],
    named: Sequence[Recipe],
    splits: Sequence[Split],
    *,
    train: Callable[..., MeasuredRun],
    kept: MeasuredRuns,
    lines: CacheProgress,
) -> None:
    """Add the runs of all recipes, each read if it was kept, or else trained and kept."""
    for seed, split in enumerate(splits):
        for recipe in named:
            label = f"{recipe.name}, seed {seed}"
            found, when = kept.read(recipe, split, seed), ", measured before"
            if found is None:
                lines.print(f"{label}: {_describe_progress(runs, len(splits))}")
                found = train(recipe, split, seed=seed)
                kept.write(recipe, split, seed, found)
                when = f" after {found.seconds:.0f} s"
            lines.print(f"{label}: {_describe_accuracy(found)}{when}")
            runs[recipe.name].append(found)


def _train(recipe: Recipe, split: Split, *, verbose: bool, **how: Any) -> MeasuredRun:
    """Train a recipe once, and measure the classifier; a model as a backbone stays as it was."""
    keras.backend.clear_session()
    started = time.perf_counter()
    train = partial(recipe.train, split.train, verbose=verbose, **how)
    with restore_model_on_exit(recipe.backbone):
        trained, memory = measure_memory(train)
        with show_waiting(f"evaluating {len(split.test):,} test images", verbose=verbose):
            values, correct = _evaluate(trained, split)
    took = time.perf_counter() - started
    return MeasuredRun({**values, "memory": memory}, correct, took)


def _describe_accuracy(found: MeasuredRun) -> str:
    return f"accuracy {100 * _read_accuracy(found):.2f} %"


def _read_accuracy(found: MeasuredRun) -> float:
    return float(found.correct.mean())


def _describe_progress(runs: Mapping[str, Sequence[MeasuredRun]], num_each: int) -> str:
    """Return the number of the next run, and about how long all that are left will take."""
    seconds = {name: [row.seconds for row in rows] for name, rows in runs.items()}
    done = [each for rows in seconds.values() for each in rows]
    words = f"run {len(done) + 1} of {num_each * len(runs)}"
    if not done:
        return words
    left = sum((num_each - len(rows)) * statistics.mean(rows or done) for rows in seconds.values())
    return f"{words}, about {duration(left)} left"


def _name(recipes: Sequence[Recipe] | Mapping[str, Recipe]) -> list[Recipe]:
    """Return recipes with their names: the keys of a dict, or their own names."""
    if isinstance(recipes, Mapping):
        named = [replace(recipe, name=name) for name, recipe in recipes.items()]
    else:
        named = [*recipes]
    names = [recipe.name for recipe in named]
    if not names or len({*names}) < len(names):
        raise ConfigError(f"`recipes` must be at least one, with different names, got {names}.")
    return named


def _repeat(data: Split | Sequence[Split], seeds: int | None) -> list[Split]:
    """Return the split of each run."""
    if isinstance(data, Split):
        count = _SEEDS if seeds is None else arguments.at_least("seeds", seeds, 1)
        return [data] * count
    if not data or seeds not in (None, len(data)):
        raise ConfigError(
            Argument("data"),
            f" must be a split, or one for each of `seeds`, got {len(data)} splits.",
        )
    return [*data]


def _subtract(
    first: Sequence[MeasuredRun], other: Sequence[MeasuredRun], splits: Sequence[Split]
) -> Estimate:
    """Return the difference in accuracy from the first recipe, paired by split or by image."""
    if _share_test_images(splits):
        before, after = (np.array([each.correct for each in rows], int) for rows in (first, other))
        return Estimate.from_runs(after - before)
    gains = [
        float(after.correct.mean() - before.correct.mean())
        for before, after in zip(first, other, strict=True)
    ]
    shares = [len(split.test) / len(split.train) for split in splits]
    return Estimate.from_splits(gains, test_share=statistics.mean(shares))


def _share_test_images(splits: Sequence[Split]) -> bool:
    """Return whether all splits have the same test images in the same order."""
    different = {id(split.test): split.test for split in splits}
    if len(different) == 1:
        return True
    if len({len(each) for each in different.values()}) > 1:
        return False
    return len({tuple(list_digests(each)) for each in different.values()}) == 1


def _count(splits: Sequence[Split]) -> int:
    """Return how many different splits there are."""
    return len({id(each) for each in splits})


def _estimate(rows: Sequence[MeasuredRun], key: str) -> Any:
    values = [row.values[key] for row in rows]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return Spread.from_values(known) if key in _SPREADS else Estimate.from_values(known)


def _evaluate(trained: Trained, data: Split) -> tuple[dict[str, float | None], np.ndarray]:
    """Return the measurements of a run, and whether it classifies each test image correctly."""
    score = evaluate(trained.model, data.test)
    with temporary_folder() as folder:
        file = save(trained.model, folder / "model.keras")
        model_bytes = file.stat().st_size
    values: dict[str, float | None] = {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "seconds": trained.seconds,
        "model_bytes": float(model_bytes),
        "num_parameters": float(trained.model.count_params()),
    }
    return values, score.correct
