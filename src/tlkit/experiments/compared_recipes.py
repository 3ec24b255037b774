"""The results of recipes that were trained and tested on the same images, as a table."""

from dataclasses import dataclass

import rich.console

from tlkit._internal.html import render_html
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.text import plural
from tlkit.evaluation.estimates import Estimate, Spread

_MIN_RUNS = 5  # with fewer, Student's t makes intervals too wide to say much


@dataclass(frozen=True, kw_only=True)
class ComparedRecipe:
    """The results of one recipe.

    Attributes:
        name: The recipe's name.
        accuracy: Accuracy on the test images, 0 to 1; the interval is that over the runs.
        accuracies: The accuracy of each run, in the order of the seeds or splits.
        difference: The accuracy minus that of the first recipe, with an interval that includes the
            choice of the test images; None for the first. See `compare`.
        loss: Mean cross-entropy on the test images, in nats.
        seconds: The time for building, probing and training: median and range of the runs.
        memory: Peak growth of the process in bytes; None if the system does not report it.
        model_bytes: The size of the saved model's file.
        num_parameters: The number of the model's parameters.
    """

    name: str
    accuracy: Estimate
    accuracies: tuple[float, ...]
    difference: Estimate | None
    loss: Estimate
    seconds: Spread
    memory: Spread | None
    model_bytes: Spread
    num_parameters: Estimate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The results of several recipes on the same images; `print(comparison)` shows a table.

    Attributes:
        images: The name of the images.
        seeds: The number of runs of each recipe.
        splits: The number of splits; 1 if all runs used the same split.
        recipes: The results, in the order of the recipes.
    """

    images: str
    seeds: int
    splits: int
    recipes: tuple[ComparedRecipe, ...]

    def __rich__(self) -> rich.console.RenderableType:
        columns = (
            "recipe",
            "accuracy, %",
            "difference, points",
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
                "" if each.difference is None else each.difference.format(0.01, 2, signed=True),
                each.loss.format(1, 4),
                each.seconds.format(1, 1),
                "?" if each.memory is None else each.memory.format(1e6, 0),
                each.model_bytes.format(1e6, 2),
                f"{each.num_parameters.mean:,.0f}",
            )
            for each in self.recipes
        ]
        table = build_table(columns, rows, align="lrrrrrrr", bars=("accuracy, %",))
        return rich.console.Group(*self._describe(), table)

    def _describe(self) -> list[str]:
        """Return the number of runs and the meaning of the intervals, one line each."""
        runs, first = plural(self.seeds, "run"), self.recipes[0].name
        on, over = " on one split", " over the seeds"
        both = "seeds and test images" if self.seeds > 1 else "test images"
        paired = f", ± 95 % interval over {both}"
        if self.splits > 1:
            on, over = ", a split and a seed each", ""
            paired = " on the same split"
        lines = [
            f"{self.images}, {runs} each{on}: mean ± 95 % interval{over}",
            "seconds, memory and file: median (lowest to highest)",
            f"difference: accuracy minus that of {first}{paired}",
        ]
        if 1 < self.seeds < _MIN_RUNS:
            lines.append(
                f"{runs} are too few for a useful interval of the mean accuracy and the "
                f"difference: use {_MIN_RUNS} or more"
            )
        return lines

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)
