import pytest

from tlkit.errors import ConfigError
from tlkit.experiments import recipes
from tlkit.experiments.tuning_space import TuningSpace, suggest, to_settings


class FirstChoice:
    """Stands in for Optuna's trial: takes the first choice, or the middle of a range."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        assert log
        return (low * high) ** 0.5

    def suggest_categorical(self, name: str, choices: list[object]) -> object:
        assert all(isinstance(each, int | float | str) for each in choices), "JSON keeps them"
        return choices[0]


@pytest.mark.parametrize("recipe", ["best", "few_images"])
def test_what_is_suggested_are_settings_of_the_recipe(recipe: str) -> None:
    space = TuningSpace(augment=(("flip", "crop"),), freeze=(0.3,), epochs=(2,))
    settings, augment = to_settings(recipe, suggest(space, recipe, FirstChoice()))
    assert augment == ("flip", "crop")
    made = recipes.get(recipe, **settings)
    assert made.fine_tune.epochs == 2
    assert made.fine_tune.learning_rate == pytest.approx(3e-4, rel=1e-2)
    if recipe == "few_images":
        assert made.head.learning_rate == pytest.approx(1.73e-3)
    else:
        assert made.max_layers == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": (1e-2, 1e-4)}, "`learning_rate` must be the lowest and the highest"),
        ({"head_learning_rate": (0.0, 1e-4)}, "`head_learning_rate` must be"),
        ({"freeze": (1.0,)}, "`freeze` must be"),
        ({"epochs": ()}, "`epochs` must have at least one value, got none"),
        ({"batch_size": (0,)}, "`batch_size` must be a whole number of at least 1"),
        ({"augment": (("flop",),)}, "'flop'"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        TuningSpace(**wrong)
