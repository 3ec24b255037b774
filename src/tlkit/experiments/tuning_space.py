"""The settings of a recipe that tuning tries, and their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.data.named_augmentation import check_names
from tlkit.errors import Argument, ConfigError

TunedRecipe = Literal["best", "few_images"]
_OF_RECIPE: dict[str, tuple[str, ...]] = {
    "best": ("learning_rate", "freeze", "epochs", "batch_size", "max_layers", "augment"),
    "few_images": ("head_learning_rate", "learning_rate", "freeze", "epochs", "augment"),
}
_NONE = "none"


@check_arguments
@dataclass(frozen=True, kw_only=True)
class TuningSpace:
    """The values that tuning tries; a range of one value, or a single choice, is fixed.

    Attributes:
        learning_rate: The lowest and the highest learning rate of fine-tuning; for "best", of its
            maximum.
        head_learning_rate: The lowest and the highest learning rate of the head phase; "few_images"
            only, since "best" solves its head.
        freeze: Shares of the backbone's layers that fine-tuning leaves frozen, 0 to below 1.
        epochs: Epochs of fine-tuning.
        batch_size: Images per batch of fine-tuning; "best" only.
        max_layers: Maximum numbers of layers that the head reads; "best" only.
        augment: Sets of augmentations by name, as for `tlkit.data.create_augmentation`. The default
            is no augmentation, because only you know which changes preserve the class of an image.

    Raises:
        ConfigError: A value is wrong, or a setting has no value to try.

    Examples:
        >>> TuningSpace(augment=((), ("flip",), ("flip", "crop"))).freeze
        (0.0, 0.3, 0.6, 0.8)
    """

    learning_rate: tuple[float, float] = (3e-5, 3e-3)
    head_learning_rate: tuple[float, float] = (3e-4, 1e-2)
    freeze: tuple[float, ...] = (0.0, 0.3, 0.6, 0.8)
    epochs: tuple[int, ...] = (4, 8, 16)
    batch_size: tuple[int, ...] = (32, 64)
    max_layers: tuple[int, ...] = (1, 2, 4)
    augment: tuple[tuple[str, ...], ...] = ((),)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "head_learning_rate"):
            low, high = (arguments.positive(name, each) for each in getattr(self, name))
            if low > high:
                raise ConfigError(
                    Argument(name),
                    f" must be the lowest and the highest, got {show((low, high))}.",
                )
        for name in ("freeze", "epochs", "batch_size", "max_layers", "augment"):
            if not getattr(self, name):
                raise ConfigError(Argument(name), " must have at least one value, got none.")
        for share in self.freeze:
            arguments.fraction("freeze", share)
        for name in ("epochs", "batch_size", "max_layers"):
            for value in getattr(self, name):
                arguments.at_least(name, value, 1)
        for names in self.augment:
            check_names(names)


def suggest(space: TuningSpace, recipe: str, trial: Any) -> dict[str, Any]:
    """Return the parameters that Optuna suggests for a trial, as values that JSON can hold.

    Args:
        space: The values that may be suggested.
        recipe: "best" or "few_images".
        trial: Optuna's trial.
    """
    found: dict[str, Any] = {}
    for name in _OF_RECIPE[recipe]:
        values = getattr(space, name)
        if name.endswith("learning_rate"):
            found[name] = trial.suggest_float(name, *values, log=True)
        else:
            found[name] = trial.suggest_categorical(name, [_to_choice(each) for each in values])
    return found


def to_settings(recipe: str, found: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return arguments of the recipe's function and names of augmentations for parameters.

    Rates are rounded to three digits, so that a command that trains with them is exact and short.

    Examples:
        >>> to_settings("best", {"learning_rate": 0.00012345, "augment": "flip+crop"})
        ({'learning_rate': 0.000123}, ('flip', 'crop'))
    """
    values: dict[str, Any] = {
        name: float(f"{value:.3g}") if name.endswith("learning_rate") else value
        for name, value in found.items()
    }
    names = values.pop("augment", _NONE)
    if recipe == "few_images":
        values["learning_rates"] = [values.pop("head_learning_rate"), values.pop("learning_rate")]
        values["epochs"] = [_HEAD_EPOCHS, values["epochs"]]
    return values, () if names == _NONE else tuple(names.split("+"))


def check_recipe(recipe: str) -> None:
    """Check that a recipe can be tuned."""
    arguments.one_of("recipe", recipe, get_args(TunedRecipe))


_HEAD_EPOCHS = 10


def _to_choice(value: Any) -> Any:
    return "+".join(value) or _NONE if isinstance(value, tuple) else value
