import numpy as np
import pytest
from scipy.stats import binom

from tlkit.errors import DataError
from tlkit.evaluation import metrics, significance


def _called(calls: list[int], labels: list[int]) -> metrics.Evaluation:
    rows = np.full((len(calls), 3), 0.1)
    rows[np.arange(len(calls)), calls] = 0.8
    return metrics.score(np.array(labels), rows, class_names="abc")


def test_only_the_images_on_which_they_differ_count() -> None:
    labels = [0] * 20
    first = _called([0] * 12 + [1] * 8, labels)
    second = _called([0] * 4 + [1] * 8 + [0] * 1 + [2] * 7, labels)
    found = significance.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 1)
    assert found.p_value == pytest.approx(2 * binom.cdf(1, 9, 0.5))
    assert found.accuracies == (0.6, 0.25)
    assert "8 images right in the first alone, 1 in the second alone, p = 0.039" in str(found)
    assert significance.mcnemar(first, first).p_value == 1.0


def test_other_images_can_not_be_compared() -> None:
    with pytest.raises(DataError, match="got 2 and 2 images with different labels"):
        significance.mcnemar(_called([0, 1], [0, 1]), _called([0, 1], [1, 1]))
