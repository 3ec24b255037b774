"""Whether one classifier is better than another, on the same test images."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from tlkit._internal.html import render_html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import render_text
from tlkit.errors import DataError
from tlkit.evaluation.metrics import Evaluation


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """A comparison of two classifiers; `print` shows it in a sentence.

    Attributes:
        accuracies: The accuracy of the first and of the second.
        only_first: How many images the first alone classifies correctly.
        only_second: How many images the second alone classifies correctly.
        p_value: The probability of a difference at least as large if both were equally good.
    """

    accuracies: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float

    def __rich__(self) -> str:
        first, second = self.accuracies
        return (
            f"{100 * first:.2f} % and {100 * second:.2f} %: {self.only_first:,} images correct by "
            f"the first alone, {self.only_second:,} by the second alone, p = {self.p_value:.2g}"
        )

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


@check_arguments
def mcnemar(first: Evaluation, second: Evaluation) -> McNemar:
    """Compare two classifiers by the test images on which they differ.

    McNemar's exact test: if both were equally good, each would be the correct one on half of the
    images that only one of them classifies correctly. For multi-label, correct means with every
    class right.

    Args:
        first: The evaluation of one.
        second: The evaluation of the other, on the same images in the same order.

    Raises:
        DataError: The labels differ.

    Examples:
        >>> from tlkit.evaluation.metrics import compute_metrics
        >>> rows = np.tile([0.9, 0.1], (10, 1))
        >>> good = compute_metrics(np.zeros(10, int), rows, class_names="ab")
        >>> bad = compute_metrics(np.zeros(10, int), rows[:, ::-1], class_names="ab")
        >>> round(mcnemar(good, bad).p_value, 4)
        0.002
    """
    if not np.array_equal(first.labels, second.labels):
        raise DataError(
            "`first` and `second` must be measured on the same images in the same order, got "
            f"{first.count:,} and {second.count:,} images with different labels."
        )
    correct = [each.correct for each in (first, second)]
    only = [int((one & ~other).sum()) for one, other in (correct, correct[::-1])]
    return McNemar(
        accuracies=(first.accuracy, second.accuracy),
        only_first=only[0],
        only_second=only[1],
        p_value=float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
    )
