import math

import pytest

import tlkit
from tlkit import recipes
from tlkit.errors import ConfigError
from tlkit.experiments import comparison as comparing


def test_a_figure_is_a_mean_with_students_interval() -> None:
    figure = comparing.Figure.of([1.0, 2.0, 3.0])
    assert figure.mean == 2.0
    assert figure.interval == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert figure.said(1, 1) == "2.0 ± 2.5"
    assert comparing.Figure.of([1.5]).said(1, 1) == "1.5"


def test_recipes_are_compared_on_the_same_images() -> None:
    digits = tlkit.datasets.digits().limited(300)
    comparison = tlkit.experiments.compare(
        [recipes.fast(), recipes.few_images(epochs=(1, 1))],
        digits,
        seeds=2,
        weights="starter",
        verbose=False,
    )
    fast, usual = comparison.recipes
    assert (comparison.seeds, fast.name, usual.name) == (2, "fast", "few_images")
    assert fast.accuracy.mean > max(0.95, usual.accuracy.mean)
    assert fast.weights.mean < usual.weights.mean / 10
    assert fast.model_bytes.mean < usual.model_bytes.mean
    assert fast.seconds.mean > 0
    assert fast.memory is None or fast.memory.mean >= 0
    lines = str(comparison).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("fast ")
    assert "±" in lines[2]


def test_names_must_differ() -> None:
    with pytest.raises(ConfigError, match="`recipes` must be one or more of different names"):
        tlkit.experiments.compare([], tlkit.datasets.digits())
    with pytest.raises(ConfigError, match="got \\['fast', 'fast'\\]"):
        tlkit.experiments.compare([recipes.fast()] * 2, tlkit.datasets.digits())
