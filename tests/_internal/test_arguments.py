import math

import pytest

from tlkit._internal import arguments
from tlkit.errors import ConfigError


def test_a_misspelt_word_gets_the_right_one_offered() -> None:
    with pytest.raises(ConfigError, match=r"`mode` must be one of .*'bilinaer'.*'bilinear'\?"):
        arguments.one_of("mode", "bilinaer", ("nearest", "bilinear"))


@pytest.mark.parametrize("value", [0, -1, 1.0, "3", True, None])
def test_a_count_is_a_whole_number_of_at_least_the_minimum(value: object) -> None:
    with pytest.raises(ConfigError, match="`epochs` must be a whole number of at least 1, got"):
        arguments.at_least("epochs", value, 1)


@pytest.mark.parametrize("value", [0, -1e-3, math.nan, math.inf, "1", True])
def test_a_rate_is_finite_and_above_zero(value: object) -> None:
    with pytest.raises(ConfigError, match="`rate` must be a number above 0, got"):
        arguments.positive("rate", value)


@pytest.mark.parametrize("value", [1, 1.5, -0.1, math.nan])
def test_a_fraction_stays_below_one(value: float) -> None:
    with pytest.raises(ConfigError, match="`dropout` must be a number of at least 0 and below 1"):
        arguments.fraction("dropout", value)


@pytest.mark.parametrize("value", [(1, 1), (2, 1), "ab", 3, (0, math.inf), (0, 1, 2)])
def test_an_interval_has_a_low_end_and_a_higher_one(value: object) -> None:
    with pytest.raises(ConfigError, match=r"`range` must be a pair \(low, high\)"):
        arguments.interval("range", value)


def test_a_size_may_be_one_number_or_two() -> None:
    assert arguments.size("size", 3) == (3, 3)
    assert arguments.size("size", [3, 4]) == (3, 4)
    with pytest.raises(ConfigError, match="`size` must be a whole number or a pair"):
        arguments.size("size", (1, 2, 3))


@pytest.mark.parametrize("value", [5, None, b"photos", "", ["photos"]])
def test_a_path_is_text_or_a_path(value: object) -> None:
    with pytest.raises(ConfigError, match="`folder` must be a path, got"):
        arguments.path("folder", value)
