"""Several measurements as one value: their mean with its uncertainty, or median and range."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from tlkit._internal import arguments, arrays
from tlkit._internal.signatures import check_arguments

NORMAL = 1.96
"""How many standard deviations on each side hold 95 % of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of several measurements, such as of runs with different seeds, with its uncertainty.

    Attributes:
        mean: The mean.
        interval: Half the width of the mean's 95 % confidence interval, by Student's t; NaN for
            one measurement, or if one is not finite.
    """

    mean: float
    interval: float

    @classmethod
    @check_arguments
    def from_values(cls, values: Sequence[float]) -> "Estimate":
        """Return the estimate from one value per run."""
        arrays.check_numbers("values", values, 1)
        if len(values) < 2 or not np.isfinite(values).all():
            return cls(mean=float(np.mean(values)), interval=math.nan)
        spread = statistics.stdev(values) / math.sqrt(len(values))
        return cls(
            mean=statistics.mean(values),
            interval=float(student.ppf(0.975, len(values) - 1)) * spread,
        )

    @classmethod
    @check_arguments
    def from_images(cls, values: Sequence[float] | np.ndarray) -> "Estimate":
        """Return the estimate of a mean over images, from one value per image.

        Args:
            values: One value for each image. There should be tens of images, because the interval
                assumes that their mean is normally distributed.
        """
        found = arrays.check_numbers("values", values, 1)
        if len(found) < 2:
            return cls(mean=float(np.mean(found)), interval=math.nan)
        spread = float(np.std(found, ddof=1)) / math.sqrt(len(found))
        return cls(mean=float(np.mean(found)), interval=NORMAL * spread)

    @classmethod
    @check_arguments
    def from_runs(cls, values: np.ndarray) -> "Estimate":
        """Return the estimate of a mean over runs and test images, from a value for each pair.

        The interval includes the chance in both: its square is the sum of the squares of the
        interval over images, of the mean of the runs, and of that over runs, by Student's t. If all
        runs are equal, or there is one, it is that over images.

        Args:
            values: Such as whether each image is classified correctly, `(runs, images)`.

        Examples:
            >>> Estimate.from_runs(np.array([[1, 0, 1, 1], [1, 0, 1, 1]])).format(1, 2)
            '0.75 ± 0.49'
        """
        found = arrays.check_numbers("values", values, 2)
        over_images = cls.from_images(found.mean(axis=0))
        over_runs = cls.from_values(found.mean(axis=1).tolist())
        both = (over_images.interval, over_runs.interval if len(found) > 1 else 0.0)
        return cls(mean=over_images.mean, interval=math.hypot(*both))

    @classmethod
    @check_arguments
    def from_splits(cls, values: Sequence[float], *, test_share: float) -> "Estimate":
        """Return the estimate from one value for each of several random splits of the same images.

        Training images of such splits overlap, so their values differ less than independent ones
        would; the interval is widened for that (Nadeau and Bengio, 2003, "Inference for the
        generalization error").

        Args:
            values: One value for each split.
            test_share: The number of test images of a split, divided by that of training images;
                above 0.

        Raises:
            ConfigError: `test_share` is not above 0.
        """
        arguments.positive("test_share", test_share)
        plain = cls.from_values(values)
        widened = plain.interval * math.sqrt(1 + len(values) * test_share)
        return cls(mean=plain.mean, interval=widened)

    def format(self, unit: float, digits: int, *, signed: bool = False) -> str:
        """Return mean and interval as text, in a unit.

        Args:
            unit: The unit, such as 0.01 for percent.
            digits: How many decimals to show.
            signed: Whether a mean of 0 or more has a plus sign, as differences have.
        """
        mean = f"{self.mean / unit:{'+' if signed else ''}.{digits}f}"
        if math.isnan(self.interval):
            return mean
        return f"{mean} ± {self.interval / unit:.{digits}f}"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of several measurements and their range, such as of the seconds of a few runs.

    Two or three measurements are too few for an interval of their mean.

    Attributes:
        median: The median.
        lowest: The lowest value.
        highest: The highest value.
    """

    median: float
    lowest: float
    highest: float

    @classmethod
    @check_arguments
    def from_values(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of some values.

        Examples:
            >>> Spread.from_values([3.0, 1.0, 8.0])
            Spread(median=3.0, lowest=1.0, highest=8.0)
        """
        found = arrays.check_numbers("values", values, 1)
        return cls(
            median=float(np.median(found)), lowest=float(found.min()), highest=float(found.max())
        )

    def format(self, unit: float, digits: int) -> str:
        """Return median and range as text, in a unit; the median alone if all values are equal.

        Args:
            unit: The unit, such as 1e6 for millions of bytes.
            digits: How many decimals to show.

        Examples:
            >>> Spread.from_values([3.0, 1.0, 8.0]).format(1, 1)
            '3.0 (1.0 to 8.0)'
        """
        median, low, high = (
            f"{value / unit:.{digits}f}" for value in (self.median, self.lowest, self.highest)
        )
        return median if low == high else f"{median} ({low} to {high})"
