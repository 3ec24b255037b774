"""Whether one classifier is better than another, on the same test images."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from tlkit._internal.tables import render_text
from tlkit.errors import DataError
from tlkit.evaluation.metrics import Evaluation


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """What `mcnemar` found; `print(it)` shows it.

    Attributes:
        accuracies: Of the first and the second.
        only_first: How many images the first alone calls rightly.
        only_second: How many the second alone does.
        p_value: How likely a difference at least as large is where both are equally good.
    """

    accuracies: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float

    def __rich__(self) -> str:
        first, second = self.accuracies
        return (
            f"{100 * first:.2f} % and {100 * second:.2f} %: {self.only_first:,} images right in "
            f"the first alone, {self.only_second:,} in the second alone, p = {self.p_value:.2g}"
        )

    def __str__(self) -> str:
        return render_text(self)


def mcnemar(first: Evaluation, second: Evaluation) -> McNemar:
    """Compare two classifiers by the test images on which they differ.

    McNemar's test, exact: of the images that one alone calls rightly, half would be either's.

    Args:
        first: What tlkit.evaluate returned for one.
        second: The same for the other, on the same images in the same order.

    Raises:
        DataError: The labels are not the same.

    Examples:
        >>> from tlkit.evaluation.metrics import score
        >>> labels, sure = np.zeros(10, int), np.tile([0.9, 0.1], (10, 1))
        >>> good, bad = (score(labels, rows, class_names="ab") for rows in (sure, sure[:, ::-1]))
        >>> round(mcnemar(good, bad).p_value, 4)
        0.002
    """
    if not np.array_equal(first.labels, second.labels):
        raise DataError(
            "`first` and `second` must be measured on the same images in the same order, got "
            f"{first.count:,} and {second.count:,} images with different labels."
        )
    right = [each.probabilities.argmax(axis=1) == each.labels for each in (first, second)]
    only = [int((one & ~other).sum()) for one, other in (right, right[::-1])]
    return McNemar(
        accuracies=(first.accuracy, second.accuracy),
        only_first=only[0],
        only_second=only[1],
        p_value=float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
    )
