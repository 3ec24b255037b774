"""The metrics of one class, and a pair of classes that a classifier confuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Images of one class that were predicted as another.

    Attributes:
        true: Their class.
        predicted: The predicted class.
        count: How many images.
        share: The share of the images of their class, 0 to 1.
    """

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """The metrics of one class, as scikit-learn defines them; 0 where one is undefined.

    Attributes:
        name: The class.
        precision: The share of the images predicted as this class that are of this class.
        recall: The share of the images of this class that were predicted as it.
        f1: The harmonic mean of both.
        support: How many images of this class were tested.
        num_predicted: How many images were predicted as this class.
        average_precision: For multi-label, the area under the precision-recall curve, summed in
            steps; None if no image of this class was tested.
        average_precision_interval: Its 95 % interval.
        auc: For multi-label, the area under the ROC curve; None if all tested images are of this
            class, or none is.
        threshold: For multi-label, the lowest probability at which an image has this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    num_predicted: int
    average_precision: float | None = None
    average_precision_interval: tuple[float, float] | None = None
    auc: float | None = None
    threshold: float | None = None

    def defined(self) -> tuple[float | None, float | None, float | None]:
        """Return precision, recall and F1, with None in place of 0 for those that are undefined.

        Precision is undefined if no image was predicted as the class, recall if no image of it
        was tested, F1 if both are undefined. Means over classes leave out undefined values.
        """
        return (
            self.precision if self.num_predicted else None,
            self.recall if self.support else None,
            self.f1 if self.num_predicted or self.support else None,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ClassMetrics":
        """Return the metrics from a dict of their fields, as `Evaluation.to_dict` has them."""
        bounds = values.get("average_precision_interval")
        interval = None if bounds is None else to_pair(bounds)
        return cls(**{**values, "average_precision_interval": interval})


def to_pair(bounds: Any) -> tuple[float, float]:
    """Return the bounds of an interval, which JSON holds as a list."""
    low, high = bounds
    return float(low), float(high)
