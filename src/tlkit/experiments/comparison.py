"""Compare recipes on the same images, over seeds: means, and how sure they are."""

import math
import statistics
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import rich.console
from scipy.stats import t as student

from tlkit._internal import arguments, system
from tlkit._internal.tables import build_table, render_text
from tlkit.data.splits import Split
from tlkit.errors import ConfigError
from tlkit.evaluation.evaluator import evaluate
from tlkit.experiments.recipe import Recipe, Trained
from tlkit.models.saving import save

_LOOK_EVERY = 0.05  # seconds


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure over several seeds.

    Attributes:
        mean: Its mean.
        interval: Half the width of the mean's 95 % interval, by Student's t; not a number for one
            seed.
    """

    mean: float
    interval: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Return the figure of these values."""
        if len(values) < 2:
            return cls(mean=values[0], interval=math.nan)
        spread = statistics.stdev(values) / math.sqrt(len(values))
        return cls(
            mean=statistics.mean(values),
            interval=float(student.ppf(0.975, len(values) - 1)) * spread,
        )

    def said(self, unit: float, digits: int) -> str:
        """Return both in words, in a unit."""
        mean = f"{self.mean / unit:.{digits}f}"
        if math.isnan(self.interval):
            return mean
        return f"{mean} ± {self.interval / unit:.{digits}f}"


@dataclass(frozen=True, kw_only=True)
class ComparedRecipe:
    """What one recipe came to.

    Attributes:
        name: The recipe's name.
        accuracy: Of the test images, 0 to 1.
        loss: Mean cross-entropy on them, in nats.
        seconds: Of building, probing and training.
        memory: Bytes that the process grew by meanwhile, at most; None where it can't be seen.
        model_bytes: Size of the saved model's file.
        weights: How many numbers the model holds.
    """

    name: str
    accuracy: Figure
    loss: Figure
    seconds: Figure
    memory: Figure | None
    model_bytes: Figure
    weights: Figure


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several recipes on the same images; `print(comparison)` shows it.

    Attributes:
        images: What the images are called.
        seeds: How many runs each recipe had.
        recipes: The recipes, as they were given.
    """

    images: str
    seeds: int
    recipes: tuple[ComparedRecipe, ...]

    def __rich__(self) -> rich.console.RenderableType:
        columns = ("recipe", "accuracy, %", "loss", "seconds", "memory, MB", "file, MB", "weights")
        rows = [
            (
                each.name,
                each.accuracy.said(0.01, 2),
                each.loss.said(1, 4),
                each.seconds.said(1, 1),
                "?" if each.memory is None else each.memory.said(1e6, 0),
                each.model_bytes.said(1e6, 2),
                f"{each.weights.mean:,.0f}",
            )
            for each in self.recipes
        ]
        runs = "1 run" if self.seeds == 1 else f"{self.seeds} runs"
        title = f"{self.images}, {runs} each, mean ± 95 % interval"
        return rich.console.Group(title, build_table(columns, rows, align="lrrrrrr"))

    def __str__(self) -> str:
        return render_text(self)


def compare(
    recipes: Sequence[Recipe],
    data: Split,
    *,
    seeds: int = 3,
    image_size: int = 32,
    weights: str | None = "imagenet",
    backbone_options: Mapping[str, Any] | None = None,
    budget: float | None = None,
    verbose: bool = True,
) -> Comparison:
    """Train each recipe with each seed, and measure what comes of it on the test images.

    The recipes take turns, so that a machine that slows down slows all of them. Keras' state of
    earlier models is cleared before each run.

    Args:
        recipes: What to compare.
        data: Training and test images.
        seeds: How many runs each has: the seeds from 0 on.
        image_size: As for `Recipe.train`.
        weights: As for `Recipe.train`.
        backbone_options: As for `Recipe.train`.
        budget: As for `Recipe.train`: minutes for each run.
        verbose: Whether to write a line for every epoch.

    Raises:
        ConfigError: There is no recipe, two have one name, or a number is wrong.
    """
    arguments.at_least("seeds", seeds, 1)
    names = [recipe.name for recipe in recipes]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"`recipes` must be one or more of different names, got {names}.")
    runs: dict[str, list[dict[str, float | None]]] = {name: [] for name in names}
    for seed in range(seeds):
        for recipe in recipes:
            keras.backend.clear_session()
            trained, memory = _watched(
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
            runs[recipe.name].append({**_figures(trained, data), "memory": memory})
    return Comparison(
        images=data.train.name,
        seeds=seeds,
        recipes=tuple(
            ComparedRecipe(name=name, **{key: _over_seeds(rows, key) for key in rows[0]})
            for name, rows in runs.items()
        ),
    )


def _over_seeds(rows: Sequence[Mapping[str, float | None]], key: str) -> Any:
    values = [row[key] for row in rows]
    there = [value for value in values if value is not None]
    return Figure.of(there) if len(there) == len(values) else None


def _figures(trained: Trained, data: Split) -> dict[str, float | None]:
    score = evaluate(trained.model, data.test)
    with tempfile.TemporaryDirectory() as folder:
        file = save(trained.model, Path(folder) / "model.keras")
        model_bytes = file.stat().st_size
    return {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "seconds": trained.seconds,
        "model_bytes": float(model_bytes),
        "weights": float(trained.model.count_params()),
    }


def _watched(work: Callable[[], Trained]) -> tuple[Trained, float | None]:
    """Do the work, and return how many bytes the process grew by at most."""
    before = system.resident_bytes()
    if before is None:
        return work(), None
    done = threading.Event()
    most = [before]

    def watch() -> None:
        while not done.wait(_LOOK_EVERY):
            most[0] = max(most[0], system.resident_bytes() or 0)

    thread = threading.Thread(target=watch, daemon=True, name="tlkit-memory")
    thread.start()
    try:
        return work(), float(max(most[0], system.resident_bytes() or 0) - before)
    finally:
        done.set()
        thread.join()
