"""Compare recipes on the same images over several seeds: means with confidence intervals."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import rich.console

from tlkit._internal import arguments, system
from tlkit._internal.html import render_html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.temporaries import temporary_folder
from tlkit.caching.progress import CacheProgress
from tlkit.data.splits import Split
from tlkit.errors import ConfigError
from tlkit.evaluation.estimates import Estimate
from tlkit.evaluation.evaluator import evaluate
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.trained import Trained
from tlkit.models.saving import save

_SAMPLING_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class ComparedRecipe:
    """The results of one recipe.

    Attributes:
        name: The recipe's name.
        accuracy: Accuracy on the test images, 0 to 1.
        loss: Mean cross-entropy on the test images, in nats.
        seconds: Time for building, probing and training.
        memory: Peak growth of the process in bytes; None if the system does not report it.
        model_bytes: Size of the saved model's file.
        num_parameters: Number of the model's weights.
    """

    name: str
    accuracy: Estimate
    loss: Estimate
    seconds: Estimate
    memory: Estimate | None
    model_bytes: Estimate
    num_parameters: Estimate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The results of several recipes on the same images; `print(comparison)` shows a table.

    Attributes:
        images: The name of the images.
        seeds: Number of runs of each recipe.
        recipes: The results, in the order of the recipes.
    """

    images: str
    seeds: int
    recipes: tuple[ComparedRecipe, ...]

    def __rich__(self) -> rich.console.RenderableType:
        columns = (
            "recipe",
            "accuracy, %",
            "loss",
            "seconds",
            "memory, MB",
            "file, MB",
            "parameters",
        )
        rows = [
            (
                each.name,
                each.accuracy.format(0.01, 2),
                each.loss.format(1, 4),
                each.seconds.format(1, 1),
                "?" if each.memory is None else each.memory.format(1e6, 0),
                each.model_bytes.format(1e6, 2),
                f"{each.num_parameters.mean:,.0f}",
            )
            for each in self.recipes
        ]
        runs = "1 run" if self.seeds == 1 else f"{self.seeds} runs"
        title = f"{self.images}, {runs} each, mean ± 95 % interval"
        table = build_table(columns, rows, align="lrrrrrr", bars=("accuracy, %",))
        return rich.console.Group(title, table)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


@check_arguments
def compare(
    recipes: Sequence[Recipe],
    data: Split,
    *,
    seeds: int = 3,
    image_size: int | tuple[int, int] | None = None,
    weights: str | None = "imagenet",
    backbone_options: Mapping[str, Any] | None = None,
    budget: float | None = None,
    verbose: bool = True,
) -> Comparison:
    """Train each recipe with each seed, and evaluate it on the test images.

    The recipes take turns, so that a machine that becomes slower affects all of them. Keras' global
    state is cleared before each run.

    Args:
        recipes: The recipes to compare.
        data: The split: training and test images.
        seeds: Number of runs of each recipe, with the seeds 0, 1, 2 and so on.
        image_size: As for `Recipe.train`.
        weights: As for `Recipe.train`.
        backbone_options: As for `Recipe.train`.
        budget: Maximum minutes of each run, as for `Recipe.train`.
        verbose: Whether to print which recipe and seed is running, and a line for every epoch.

    Raises:
        ConfigError: `recipes` is empty or two have the same name, or a number is wrong.
    """
    arguments.at_least("seeds", seeds, 1)
    names = [recipe.name for recipe in recipes]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"`recipes` must be at least one, with different names, got {names}.")
    lines = CacheProgress(verbose=verbose)
    runs: dict[str, list[dict[str, float | None]]] = {name: [] for name in names}
    for seed in range(seeds):
        for recipe in recipes:
            keras.backend.clear_session()
            done = sum(map(len, runs.values()))
            lines.print(f"{recipe.name}, seed {seed}: run {done + 1} of {seeds * len(recipes)}")
            trained, memory = _measure_memory(
                partial(
                    recipe.train,
                    data.train,
                    image_size=image_size,
                    weights=weights,
                    backbone_options=backbone_options,
                    seed=seed,
                    budget=budget,
                    verbose=verbose,
                )
            )
            runs[recipe.name].append({**_evaluate(trained, data), "memory": memory})
    return Comparison(
        images=data.train.name,
        seeds=seeds,
        recipes=tuple(
            ComparedRecipe(name=name, **{key: _estimate(rows, key) for key in rows[0]})
            for name, rows in runs.items()
        ),
    )


def _estimate(rows: Sequence[Mapping[str, float | None]], key: str) -> Any:
    values = [row[key] for row in rows]
    known = [value for value in values if value is not None]
    return Estimate.from_values(known) if len(known) == len(values) else None


def _evaluate(trained: Trained, data: Split) -> dict[str, float | None]:
    score = evaluate(trained.model, data.test)
    with temporary_folder() as folder:
        file = save(trained.model, folder / "model.keras")
        model_bytes = file.stat().st_size
    return {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "seconds": trained.seconds,
        "model_bytes": float(model_bytes),
        "num_parameters": float(trained.model.count_params()),
    }


def _measure_memory(work: Callable[[], Trained]) -> tuple[Trained, float | None]:
    """Return the result of the work, and by how many bytes the process grew during it at most."""
    before = system.resident_bytes()
    if before is None:
        return work(), None
    done = threading.Event()
    peak = [before]

    def watch() -> None:
        while not done.wait(_SAMPLING_SECONDS):
            peak[0] = max(peak[0], system.resident_bytes() or 0)

    thread = threading.Thread(target=watch, daemon=True, name="tlkit-memory")
    thread.start()
    try:
        return work(), float(max(peak[0], system.resident_bytes() or 0) - before)
    finally:
        done.set()
        thread.join()
