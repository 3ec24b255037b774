"""The pixel values of a recipe that differ from those of the backbone's pretraining."""

from tlkit.experiments.recipe import Recipe
from tlkit.models.applications import SPECS

_AS_DESCRIBED = "mnist_as_described"


def find_pretraining_range(recipe: Recipe) -> tuple[float, float] | None:
    """Return the pixel values of pretraining, if the recipe repeats an experiment with others.

    Args:
        recipe: The recipe. Only `recipes.mnist_as_described` scales pixels as an experiment was
            described; the others scale them as in pretraining.

    Examples:
        >>> from tlkit import recipes
        >>> find_pretraining_range(recipes.mnist_as_described())
        (-1, 1)
        >>> find_pretraining_range(recipes.fast())
    """
    if recipe.name != _AS_DESCRIBED or recipe.pixels is None or recipe.backbone not in SPECS:
        return None
    return SPECS[str(recipe.backbone)].pixels.range
