import numpy as np
import pytest
from scipy.stats import binom

from tlkit.errors import DataError
from tlkit.evaluation.metrics import Evaluation, compute_metrics
from tlkit.evaluation.significance import mcnemar


def _evaluation(predicted: list[int], labels: list[int]) -> Evaluation:
    return compute_metrics(np.array(labels), np.eye(3)[predicted] * 0.7 + 0.1, class_names="abc")


def test_only_images_that_one_classifier_alone_gets_right_count() -> None:
    labels = [0] * 20
    first = _evaluation([0] * 12 + [1] * 8, labels)
    second = _evaluation([0] * 4 + [1] * 8 + [0] * 1 + [2] * 7, labels)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 1)
    assert found.p_value == pytest.approx(2 * binom.cdf(1, 9, 0.5))
    assert found.accuracies == (0.6, 0.25)
    assert "8 images correct by the first alone, 1 by the second alone, p = 0.039" in str(found)
    assert mcnemar(first, first).p_value == 1.0


def test_evaluations_of_different_images_are_refused() -> None:
    with pytest.raises(DataError, match="got 2 and 2 images with different labels"):
        mcnemar(_evaluation([0, 1], [0, 1]), _evaluation([0, 1], [1, 1]))
