import pytest

from tlkit.errors import DataError
from tlkit.evaluation import Spread


def test_a_spread_is_a_median_with_its_range() -> None:
    found = Spread.from_values([2e6, 9e6, 1e6, 4e6])
    assert (found.median, found.lowest, found.highest) == (3e6, 1e6, 9e6)
    assert found.format(1e6, 1) == "3.0 (1.0 to 9.0)"
    assert Spread.from_values([1.01, 1.02]).format(1, 1) == "1.0"
    with pytest.raises(DataError):
        Spread.from_values([])
