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


def test_an_estimate_from_splits_needs_a_share_above_0() -> None:
    wide, plain = Estimate.from_splits([1.0, 2.0], test_share=1.5), Estimate.from_values([1.0, 2.0])
    assert wide.interval == pytest.approx(2 * plain.interval)
    with pytest.raises(ConfigError, match="`test_share` must be a number above 0, got -2"):
        Estimate.from_splits([1.0, 2.0], test_share=-2)
