import math
from dataclasses import replace

import pytest

import tlkit
from tlkit import recipes
from tlkit.errors import ConfigError
from tlkit.evaluation.estimates import Estimate
from tlkit.experiments import comparison


def test_an_estimate_is_a_mean_with_students_interval() -> None:
    estimate = Estimate.from_values([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    assert estimate.interval == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert estimate.format(1, 1) == "2.0 ± 2.5"
    assert Estimate.from_values([1.5]).format(1, 1) == "1.5"


@pytest.mark.slow
def test_recipes_are_compared_on_the_same_images() -> None:
    digits = tlkit.datasets.digits().limited(300)
    found = tlkit.experiments.compare(
        [recipes.fast(), replace(recipes.few_images(epochs=(1, 1)), fine_tune=None)],
        digits,
        seeds=2,
        weights="starter",
        verbose=False,
    )
    fast, usual = found.recipes
    assert (found.seeds, fast.name, usual.name) == (2, "fast", "few_images")
    assert fast.accuracy.mean > max(0.95, usual.accuracy.mean)
    assert fast.num_parameters.mean < usual.num_parameters.mean / 10
    assert fast.model_bytes.mean < usual.model_bytes.mean
    assert fast.seconds.mean > 0
    assert fast.memory is None or fast.memory.mean >= 0
    lines = str(found).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("fast ")
    assert "±" in lines[2]


def test_it_says_which_recipe_and_seed_is_running(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stop(Exception):  # noqa: N818  # the training itself is not what is tested
        pass

    def train(self: recipes.Recipe, *_: object, seed: int, **__: object) -> None:
        if (self.name, seed) == ("b", 1):
            raise Stop

    measured = dict.fromkeys(("accuracy", "loss", "seconds", "model_bytes", "num_parameters"), 1.0)
    monkeypatch.setattr(recipes.Recipe, "train", train)
    monkeypatch.setattr(comparison, "_evaluate", lambda trained, data: measured)
    named = [replace(recipes.fast(), name=name) for name in "ab"]
    with pytest.raises(Stop):
        tlkit.experiments.compare(named, tlkit.datasets.digits(), seeds=2)
    assert capsys.readouterr().out.splitlines() == [
        "a, seed 0: run 1 of 4",
        "b, seed 0: run 2 of 4",
        "a, seed 1: run 3 of 4",
        "b, seed 1: run 4 of 4",
    ]


def test_no_recipe_or_equal_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="`recipes` must be at least one, with different names"):
        tlkit.experiments.compare([], tlkit.datasets.digits())
    with pytest.raises(ConfigError, match="got \\['fast', 'fast'\\]"):
        tlkit.experiments.compare([recipes.fast()] * 2, tlkit.datasets.digits())
