"""Test whether one classifier is better than another on the same images."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from tlkit._internal.html import render_html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import render_text
from tlkit.errors import DataError
from tlkit.evaluation.estimates import NORMAL, Estimate
from tlkit.evaluation.metrics import Evaluation


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """A comparison of two classifiers; `print` shows it in a sentence.

    Attributes:
        accuracies: The accuracy of the first and of the second.
        only_first: How many images the first alone classifies correctly.
        only_second: How many images the second alone classifies correctly.
        p_value: The probability of a difference at least as large if both were equally good.
        count: How many images were tested.
    """

    accuracies: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float
    count: int

    @property
    def difference(self) -> Estimate:
        """The accuracy of the second minus that of the first, with its 95 % interval.

        The width is that of the adjusted Wald interval of paired proportions (Bonett and Price,
        2012), which adds one image to each of the two counts. The interval is centred on the
        measured difference, without this adjustment.
        """
        first, second = (
            (only + 1) / (self.count + 2) for only in (self.only_first, self.only_second)
        )
        spread = math.sqrt((first + second - (second - first) ** 2) / (self.count + 2))
        mean = (self.only_second - self.only_first) / self.count
        return Estimate(mean=mean, interval=NORMAL * spread)

    def format_p(self) -> str:
        """Return the p-value as text, such as "= 0.04"; one that is rounded to 0 has a bound."""
        return f"= {self.p_value:.2g}" if self.p_value else "< 1e-300"

    def __rich__(self) -> str:
        first, second = self.accuracies
        return (
            f"{100 * first:.2f} % and {100 * second:.2f} %: {self.only_first:,} images correct by "
            f"the first alone, {self.only_second:,} by the second alone, p {self.format_p()}"
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
    return compare_correct(first.correct, second.correct)


@check_arguments
def compare_correct(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Compare two classifiers by which images each of them classifies correctly; see `mcnemar`.

    Args:
        first: Whether the first classifies each image correctly, `(count,)`.
        second: Whether the second classifies each of the same images correctly, `(count,)`.

    Raises:
        DataError: There are no images, or the numbers of images differ.

    Examples:
        >>> found = compare_correct(np.array([True, True, False]), np.array([True, False, False]))
        >>> found.only_first, found.only_second
        (1, 0)
    """
    correct = [np.asarray(each, bool) for each in (first, second)]
    if correct[0].shape != correct[1].shape or correct[0].ndim != 1 or not len(correct[0]):
        raise DataError(
            "`first` and `second` must say of the same images whether they are classified "
            f"correctly, got shapes {correct[0].shape} and {correct[1].shape}."
        )
    only = [int((one & ~other).sum()) for one, other in (correct, correct[::-1])]
    return McNemar(
        accuracies=(float(correct[0].mean()), float(correct[1].mean())),
        only_first=only[0],
        only_second=only[1],
        p_value=float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
        count=len(correct[0]),
    )
