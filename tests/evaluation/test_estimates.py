import math

import numpy as np
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.evaluation import Estimate, Spread


def test_a_spread_is_a_median_with_its_range() -> None:
    found = Spread.from_values([2e6, 9e6, 1e6, 4e6])
    assert (found.median, found.lowest, found.highest) == (3e6, 1e6, 9e6)
    assert found.format(1e6, 1) == "3.0 (1.0 to 9.0)"
    assert Spread.from_values([1.01, 1.02]).format(1, 1) == "1.0"
    with pytest.raises(DataError):
        Spread.from_values([])


def test_an_estimate_over_runs_and_images_includes_the_chance_in_both() -> None:
    images = np.arange(400) % 4 == 0
    equal = Estimate.from_runs(np.array([images, images], int))
    assert equal == Estimate.from_images(images.astype(int))
    assert Estimate.from_runs(np.array([images], int)) == equal
    runs = np.array([np.ones(400), np.zeros(400)], int)  # all images alike in each run
    assert Estimate.from_runs(runs) == Estimate.from_values([1.0, 0.0])
    both = Estimate.from_runs(np.array([images, np.zeros(400)], int))
    assert both.mean == 0.125
    over_runs = Estimate.from_values([0.25, 0.0]).interval
    over_images = Estimate.from_images(images / 2).interval
    assert both.interval == pytest.approx(math.hypot(over_runs, over_images))
    with pytest.raises(DataError, match="`values`"):
        Estimate.from_runs(np.zeros(3))


def test_an_estimate_from_splits_needs_a_share_above_0() -> None:
    wide, plain = Estimate.from_splits([1.0, 2.0], test_share=1.5), Estimate.from_values([1.0, 2.0])
    assert wide.interval == pytest.approx(2 * plain.interval)
    with pytest.raises(ConfigError, match="`test_share` must be a number above 0, got -2"):
        Estimate.from_splits([1.0, 2.0], test_share=-2)
