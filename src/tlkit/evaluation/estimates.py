"""The mean of some measurements, with its uncertainty."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from tlkit._internal import arrays
from tlkit._internal.signatures import check_arguments


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

    def format(self, unit: float, digits: int) -> str:
        """Return mean and interval as text, in a unit."""
        mean = f"{self.mean / unit:.{digits}f}"
        if math.isnan(self.interval):
            return mean
        return f"{mean} ± {self.interval / unit:.{digits}f}"
