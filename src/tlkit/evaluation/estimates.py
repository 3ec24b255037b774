"""The mean of some measurements, with its uncertainty."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from tlkit._internal import arrays
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
    def from_splits(cls, values: Sequence[float], *, test_share: float) -> "Estimate":
        """Return the estimate from one value for each of several random splits of the same images.

        Training images of such splits overlap, so their values differ less than independent ones
        would; the interval is widened for that (Nadeau and Bengio, 2003, "Inference for the
        generalization error").

        Args:
            values: One value for each split.
            test_share: The number of test images of a split, divided by that of training images.
        """
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
