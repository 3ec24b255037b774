"""Set the precision in which the trained phases of a recipe compute."""

from dataclasses import replace

from tlkit.experiments.recipe import Recipe
from tlkit.training.phase import Phase
from tlkit.training.precision import Precision


def set_precision(recipe: Recipe, precision: Precision) -> Recipe:
    """Return a recipe whose backbone computes in a precision while it is trained.

    A head that is solved is always solved in float32.
    """
    phases = {"head": recipe.head, "fine_tune": recipe.fine_tune}
    changed = {
        name: replace(phase, precision=precision)
        for name, phase in phases.items()
        if isinstance(phase, Phase)
    }
    return replace(recipe, **changed)  # type: ignore[arg-type]  # each name has its own phase
